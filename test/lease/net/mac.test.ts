import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressError } from '../../../lease/net/ip.ts'
import { isUnicast, localMac, macFromBytes, parseMac } from '../../../lease/net/mac.ts'

const sixBytes = fc.uint8Array({ minLength: 6, maxLength: 6 })
const bytesOf = (mac: string) => Uint8Array.from(mac.split(':'), pair => Number.parseInt(pair, 16))

describe('a MAC', () => {
  it('is lower case with colons', () => {
    expect(parseMac('C6-D2-0A-00-00-0F')).toBe('c6:d2:0a:00:00:0f')
  })

  it.each([
    '',
    'c6:d2:0a:00:00',
    'c6:d2:0a:00:00:0f:01',
    'c6d20a00000f',
    'g6:d2:0a:00:00:0f',
    'c6:d2:0a:00:00:0f\n',
  ])('is not %j', text => {
    expect(() => parseMac(text)).toThrow(AddressError)
  })

  it('fails with AddressError alone', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-f:-]{0,20}$/)), text => {
        try {
          expect(parseMac(parseMac(text))).toBe(parseMac(text))
        } catch (error) {
          expect(error).toBeInstanceOf(AddressError)
        }
      }),
    )
  })

  it('survives the way through bytes', () => {
    fc.assert(
      fc.property(sixBytes, bytes => {
        expect(bytesOf(macFromBytes(bytes))).toEqual(bytes)
        expect(parseMac(macFromBytes(bytes))).toBe(macFromBytes(bytes))
      }),
    )
  })

  it('of our own making is unicast and locally administered', () => {
    fc.assert(
      fc.property(sixBytes, random => {
        const mac = localMac(random)
        expect(isUnicast(mac)).toBe(true)
        expect((bytesOf(mac)[0] ?? 0) & 2).toBe(2)
      }),
    )
  })

  it('is no station where it is multicast, broadcast or zero', () => {
    const macs = ['01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00', '02:00:00:00:00:01']
    expect(macs.map(mac => isUnicast(parseMac(mac)))).toEqual([false, false, false, true])
  })
})
