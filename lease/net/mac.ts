import { AddressError, refuseLongText } from './ip.ts'

declare const macBrand: unique symbol
/** An Ethernet address as the kernel prints it: six lower-case hex pairs with colons. */
export type Mac = string & { readonly [macBrand]: true }

/** Accepts either case and `:` or `-` between the pairs. Throws AddressError. */
export function parseMac(text: string): Mac {
  refuseLongText(text)
  const canonical = text.toLowerCase().replaceAll('-', ':')
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(canonical))
    throw new AddressError(
      `Cannot parse MAC address '${text}': six hex pairs are needed, as in 02:00:5e:10:00:01`,
    )
  return canonical as Mac
}

/** Throws AddressError unless there are six bytes. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6)
    throw new AddressError(`Cannot read a MAC address from ${bytes.length} bytes: 6 are needed`)
  const pair = (i: number) => hexPairs[bytes[i] ?? 0]
  return `${pair(0)}:${pair(1)}:${pair(2)}:${pair(3)}:${pair(4)}:${pair(5)}` as Mac
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export function macToBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(':'), pair => Number.parseInt(pair, 16))
}

/** A unicast, locally administered address (IEEE 802: the two low bits of the first byte are 10) of six random bytes. */
export function localMac(random: Uint8Array): Mac {
  const bytes = Uint8Array.from(random.subarray(0, 6))
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02
  return macFromBytes(bytes)
}

/** Whether a frame can be sent to one station by this address: neither multicast nor all zero. */
export function isUnicast(mac: Mac): boolean {
  return mac !== '00:00:00:00:00:00' && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0
}
