import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readAddress, writeAddress } from '../../../../agent/netlink/codec/address.ts'
import { NetlinkDecodeError } from '../../../../agent/netlink/codec/attributes.ts'
import { readLink, writeNewVxlan } from '../../../../agent/netlink/codec/link.ts'
import { Messages, MessageWriter, NLM_F_ACK } from '../../../../agent/netlink/codec/message.ts'
import { readNeighbor, writeNewFdb, writeNewNeighbor } from '../../../../agent/netlink/codec/neighbor.ts'
import { readRoute, writeNewRoute } from '../../../../agent/netlink/codec/route.ts'
import { familyBits, familyOf, parseIp } from '../../../../lease/net/ip.ts'
import { macFromBytes, parseMac } from '../../../../lease/net/mac.ts'
import { parsePrefix } from '../../../../lease/net/prefix.ts'
import { anyFamily, anyIp, anyPrefix } from '../../../support/arbitrary.ts'

const anyAddress = anyFamily.chain(anyIp)
const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes)
const anyIndex = fc.integer({ min: 1, max: 0x7fffffff })

/** The bytes of the one message that `write` writes. */
function bytesOf(write: (writer: MessageWriter) => void): Buffer {
  const writer = new MessageWriter()
  write(writer)
  writer.stamp(7, NLM_F_ACK)
  return Buffer.from(writer.written)
}

function only(datagram: Buffer): Messages {
  const messages = new Messages(datagram)
  expect(messages.next()).toBe(true)
  expect(messages).toMatchObject({ seq: 7, end: datagram.length })
  return messages
}

const readers = [readLink, readAddress, readNeighbor, readRoute]

/** Reads all that there is, as every kind of message. */
function readAll(datagram: Buffer): void {
  const messages = new Messages(datagram)
  while (messages.next()) {
    for (const read of [
      () => messages.outcome(),
      ...readers.map(read => () => read(datagram, messages.start, messages.end)),
    ])
      try {
        read()
      } catch (error) {
        if (!(error instanceof NetlinkDecodeError)) throw error
      }
  }
}

describe('a netlink message', () => {
  test('of the kind that the kernel reads, byte for byte', () => {
    const fdb = bytesOf(writer =>
      writeNewFdb(writer, 5, parseMac('02:00:00:00:00:02'), parseIp('192.168.0.2')),
    )
    expect(fdb.toString('hex').match(/.{8}/g)).toEqual([
      '30000000', // nlmsg_len 48
      '1c000505', // RTM_NEWNEIGH, CREATE | REPLACE | ACK | REQUEST
      '07000000', // nlmsg_seq
      '00000000', // nlmsg_pid
      '07000000', // AF_BRIDGE
      '05000000', // ndm_ifindex
      '80000200', // NUD_PERMANENT, NTF_SELF
      '0a000200', // NDA_LLADDR
      '02000000',
      '00020000',
      '08000100', // NDA_DST
      'c0a80002',
    ])
  })

  test('says after being read what was written: a neighbor', () => {
    fc.assert(
      fc.property(anyAddress, anyMac, anyIndex, (address, mac, index) => {
        const datagram = bytesOf(writer => writeNewNeighbor(writer, index, address, mac))
        const { start, end } = only(datagram)
        expect(readNeighbor(datagram, start, end)).toMatchObject({ index, address, mac, state: 0x80 })
      }),
    )
  })

  test('says after being read what was written: an address', () => {
    fc.assert(
      fc.property(anyAddress, fc.nat(), anyIndex, (address, n, index) => {
        const length = n % (familyBits(familyOf(address)) + 1)
        const datagram = bytesOf(writer => writeAddress(writer, { address, length }, index, 'replace'))
        const { start, end } = only(datagram)
        expect(readAddress(datagram, start, end)).toMatchObject({ index, address, length })
      }),
    )
  })

  test('says after being read what was written: a route', () => {
    const anyRoute = anyPrefix.chain(dst =>
      fc.record({
        dst: fc.constant(dst),
        via: fc.option(anyIp(familyOf(dst)), { nil: undefined }),
        onlink: fc.boolean(),
        metric: fc.nat(),
        protocol: fc.nat(255),
        type: fc.constantFrom('unicast' as const, 'blackhole' as const),
      }),
    )
    fc.assert(
      fc.property(anyRoute, anyIndex, (route, index) => {
        const datagram = bytesOf(writer => writeNewRoute(writer, route, index, 'add'))
        const { start, end } = only(datagram)
        const { dst, via, onlink, metric, protocol } = route
        const type = route.type === 'blackhole' ? 6 : 1
        expect(readRoute(datagram, start, end)).toMatchObject({
          dst,
          via,
          onlink,
          metric,
          protocol,
          type,
          index,
        })
      }),
    )
  })

  test('says after being read what was written: a VXLAN device', () => {
    const anyVxlan = fc.record({
      vni: fc.nat(0xffffff),
      port: fc.nat(0xffff),
      local: anyAddress,
      underlay: anyIndex,
      learning: fc.boolean(),
      gbp: fc.boolean(),
    })
    const anyName = fc.stringMatching(/^[a-z][a-z0-9.-]{0,14}$/)
    fc.assert(
      fc.property(anyVxlan, anyName, anyMac, fc.nat(), (vxlan, name, mac, mtu) => {
        const datagram = bytesOf(writer => writeNewVxlan(writer, { name, mac, mtu, vxlan }))
        const { start, end } = only(datagram)
        expect(readLink(datagram, start, end)).toMatchObject({
          name,
          mac,
          mtu,
          vxlan: { ...vxlan, extra: '' },
        })
      }),
    )
  })

  test('of any other bytes is refused with an error of its own, at worst', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        try {
          readAll(Buffer.from(bytes))
        } catch (error) {
          expect(error).toBeInstanceOf(NetlinkDecodeError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('that is cut short or has bytes changed is refused with an error of its own, at worst', () => {
    const valid = [
      bytesOf(writer => writeNewFdb(writer, 5, parseMac('02:00:00:00:00:02'), parseIp('fd00::2'))),
      bytesOf(writer => writeAddress(writer, { address: parseIp('10.1.1.0'), length: 32 }, 5, 'replace')),
      bytesOf(writer =>
        writeNewRoute(
          writer,
          {
            dst: parsePrefix('10.1.2.0/24'),
            via: parseIp('10.1.2.0'),
            onlink: true,
            metric: 5,
            protocol: 3,
            type: 'unicast',
          },
          5,
          'add',
        ),
      ),
      bytesOf(writer =>
        writeNewVxlan(writer, {
          name: 'flannel.1',
          mac: parseMac('02:00:00:00:00:01'),
          mtu: 1450,
          vxlan: { vni: 1, port: 8472, local: parseIp('fd00::1'), underlay: 2, learning: false, gbp: true },
        }),
      ),
    ]
    const edits = fc.array(fc.tuple(fc.nat(199), fc.nat(255)), { maxLength: 6 })
    fc.assert(
      fc.property(
        fc.constantFrom(...valid),
        edits,
        fc.nat(200),
        fc.boolean(),
        (message, changes, cut, keepLength) => {
          const bytes = Buffer.from(
            message.subarray(0, Math.max(16, message.length - (cut % message.length))),
          )
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
          if (!keepLength) bytes.writeUInt32LE(bytes.length, 0)
          try {
            readAll(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(NetlinkDecodeError)
          }
        },
      ),
      { numRuns: 5000 },
    )
  })
})
