import { createSocket, type Socket } from 'node:dgram'
import { type Family, familyOf, type Ip } from '../../lease/net/ip.ts'

/** What differs between the families: the socket's type, and the bytes of an IP header without options. */
const families: Readonly<Record<Family, { readonly type: 'udp4' | 'udp6'; readonly ipHeader: number }>> = {
  ipv4: { type: 'udp4', ipHeader: 20 },
  ipv6: { type: 'udp6', ipHeader: 40 },
}
/** Bytes of a UDP header, and of an ICMP echo header. */
const UDP_HEADER = 8

/** Bytes of IP and ICMP, or IP and UDP, headers before the payload. */
export function udpHeaders(to: Ip): number {
  return families[familyOf(to)].ipHeader + UDP_HEADER
}

/** By halves: the largest size up to `most` that passes; null if not even `least` does. */
export async function largestPassing(
  least: number,
  most: number,
  passes: (size: number) => Promise<boolean>,
): Promise<number | null> {
  if (await passes(most)) return most
  if (!(await passes(least))) return null
  let [low, high] = [least, most]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (await passes(middle)) low = middle
    else high = middle
  }
  return low
}

/** A UDP socket of the address's family; not bound yet. */
export function udpSocket(address: Ip): Socket {
  return createSocket(families[familyOf(address)].type)
}
