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
  return macAt(bytes, 0)
}

/** Reads 6 bytes from `start`. Fast: a kernel snapshot holds thousands of them. */
export function macAt(bytes: Uint8Array, start: number): Mac {
  let mac = hexPairs[bytes[start] ?? 0] ?? ''
  for (let i = 1; i < 6; i++) mac += `:${hexPairs[bytes[start + i] ?? 0]}`
  return mac as Mac
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Unicast and locally administered (IEEE 802: the first byte's low bits are 10), from six random bytes. */
export function localMac(random: Uint8Array): Mac {
  const bytes = Uint8Array.from(random.subarray(0, 6))
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02
  return macFromBytes(bytes)
}

/** Whether the address names one station: neither multicast nor all zero. */
export function isUnicast(mac: Mac): boolean {
  return mac !== '00:00:00:00:00:00' && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0
}
