import { isIP, isIPv4 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  AddressError,
  familyOf,
  hostOf,
  ipFromBytes,
  ipFromNumber,
  ipToBytes,
  ipToNumber,
  parseIp,
  scopeOf,
  urlHost,
} from '../../../lease/net/ip.ts'

const bytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  // Runs of zeros are where RFC 5952 has its rules.
  fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 }).map(it => Uint8Array.from(it)),
)
const almostAddress = fc.oneof(
  fc.string(),
  fc.ipV4(),
  fc.ipV4Extended(),
  fc.ipV6(),
  fc.stringMatching(/^[0-9a-fA-F:.]{1,20}$/),
)

describe('an IP address', () => {
  it('has one text, whatever it was written like', () => {
    const canonical = (text: string) => `${text} -> ${parseIp(text)}`
    expect(
      [
        '192.168.0.7',
        '::ffff:192.168.0.7',
        '64:ff9b::10.0.0.1',
        'FD00:12:13:0:0:0:0:1',
        '::',
        '::1',
        '2001:db8:0:0:1:0:0:1',
        '2001:0:3::',
      ].map(canonical),
    ).toEqual([
      '192.168.0.7 -> 192.168.0.7',
      '::ffff:192.168.0.7 -> ::ffff:c0a8:7',
      '64:ff9b::10.0.0.1 -> 64:ff9b::a00:1',
      'FD00:12:13:0:0:0:0:1 -> fd00:12:13::1',
      ':: -> ::',
      '::1 -> ::1',
      '2001:db8:0:0:1:0:0:1 -> 2001:db8::1:0:0:1',
      '2001:0:3:: -> 2001:0:3::',
    ])
  })

  it('stands in a URL in brackets, which its host has not', () => {
    const urls = ['https://[fd00::1]:2379', 'http://10.0.0.1:80/x', 'https://db.example.com.']
    expect(urls.map(hostOf)).toEqual(['fd00::1', '10.0.0.1', 'db.example.com.'])
    expect(['fd00::1', '10.0.0.1'].map(urlHost)).toEqual(['[fd00::1]', '10.0.0.1'])
  })

  it('does not shorten a single group of zeros (RFC 5952, 4.2.2)', () => {
    expect(parseIp('2001:db8:0:1:1:1:1:1')).toBe('2001:db8:0:1:1:1:1:1')
  })

  it.each([
    '',
    '10.1',
    '010.1.1.1',
    '1.2.3.4/24',
    'fe80::1%eth0',
    ' 1.2.3.4',
    '1.2.3.4\n',
    '1::2::3',
    '[::1]',
    '::g',
  ])('is not %j', text => {
    expect(() => parseIp(text)).toThrow(AddressError)
    expect(() => parseIp(text)).toThrow(`Cannot parse IP address '${text}'`)
  })

  it('is what Node.js takes for one, and anything else is an AddressError', () => {
    fc.assert(
      fc.property(almostAddress, text => {
        let parsed: string | undefined
        try {
          parsed = parseIp(text)
        } catch (error) {
          expect(error).toBeInstanceOf(AddressError)
        }
        const bare = isIP(text) !== 0 && !text.includes('%')
        expect(parsed !== undefined).toBe(bare)
        if (parsed !== undefined) expect(familyOf(parsed)).toBe(isIPv4(text) ? 'ipv4' : 'ipv6')
      }),
      { numRuns: 2000 },
    )
  })

  it('survives the way through bytes, numbers and text', () => {
    fc.assert(
      fc.property(bytes, octets => {
        const ip = ipFromBytes(octets)
        expect(ipToBytes(ip)).toEqual(octets)
        expect(parseIp(ip)).toBe(ip)
        expect(ipFromNumber(ipToNumber(ip), familyOf(ip))).toBe(ip)
      }),
    )
  })

  it('is not made of a number or bytes beyond its family', () => {
    expect(() => ipFromNumber(1n << 32n, 'ipv4')).toThrow(AddressError)
    expect(() => ipFromNumber(-1n, 'ipv4')).toThrow(AddressError)
    expect(() => ipFromNumber(1n << 128n, 'ipv6')).toThrow(AddressError)
    expect(() => ipFromBytes(new Uint8Array(5))).toThrow(AddressError)
  })

  it('is for what RFC 6890 says', () => {
    const scopes = [
      '0.0.0.0',
      '0.1.2.3',
      '240.0.0.1',
      '127.0.0.1',
      '224.0.0.1',
      '169.254.1.1',
      '255.255.255.255',
      '192.168.0.1',
      '::',
      '::1',
      'ff02::1',
      'fe80::1',
      'febf::1',
      'fec0::1',
      '::ffff:1.2.3.4',
      'fd00::1',
    ].map(text => `${text} ${scopeOf(parseIp(text))}`)
    expect(scopes).toEqual([
      '0.0.0.0 unspecified',
      '0.1.2.3 global',
      '240.0.0.1 global',
      '127.0.0.1 loopback',
      '224.0.0.1 multicast',
      '169.254.1.1 link-local',
      '255.255.255.255 broadcast',
      '192.168.0.1 global',
      ':: unspecified',
      '::1 loopback',
      'ff02::1 multicast',
      'fe80::1 link-local',
      'febf::1 link-local',
      'fec0::1 global',
      '::ffff:1.2.3.4 mapped',
      'fd00::1 global',
    ])
  })
})
