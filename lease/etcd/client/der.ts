/** DER, as far as X.509 certificates need it: ITU-T X.690. Each function returns one whole element. */

const SEQUENCE = 0x30
const SET = 0x31

export function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  return Buffer.concat([Buffer.from([tag, ...lengthOctets(body.length)]), body])
}

export function sequence(...content: readonly Uint8Array[]): Buffer {
  return element(SEQUENCE, ...content)
}

export function set(...content: readonly Uint8Array[]): Buffer {
  return element(SET, ...content)
}

/** `[number]`, constructed. */
export function explicit(number: number, ...content: readonly Uint8Array[]): Buffer {
  return element(0xa0 | number, ...content)
}

/** Big-endian; a leading zero keeps it positive. */
export function integer(bytes: Uint8Array): Buffer {
  const isNegative = ((bytes[0] ?? 0) & 0x80) !== 0
  return element(0x02, isNegative ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)
}

/** `2.5.4.3`; every number after the second is below 2^14. */
export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  const octets = rest.flatMap(number => (number < 128 ? [number] : [0x80 | (number >> 7), number & 0x7f]))
  return element(0x06, Buffer.from([first * 40 + second, ...octets]))
}

export function utf8(text: string): Buffer {
  return element(0x0c, Buffer.from(text))
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return element(0x03, Buffer.from([unusedBits]), bytes)
}

export function octetString(bytes: Uint8Array): Buffer {
  return element(0x04, bytes)
}

export const TRUE = element(0x01, Buffer.from([0xff]))

function lengthOctets(length: number): readonly number[] {
  if (length < 0x80) return [length]
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
}
