import { describe, expect, it } from 'vitest'
import type { KernelChange } from '../../../../agent/kernel/kernel.ts'
import { ChangeSlot } from '../../../../agent/kernel/notifications/change_slot.ts'
import { Notifications } from '../../../../agent/kernel/notifications/notifications.ts'
import { NetlinkDecodeError } from '../../../../agent/netlink/codec/attributes.ts'
import { AF_INET, AF_UNSPEC } from '../../../../agent/netlink/codec/family.ts'
import { TWILL_PROTOCOL } from '../../../../agent/state/ownership.ts'
import { printEntry } from '../../../../agent/state/print.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { parsePrefix } from '../../../../lease/net/prefix.ts'

/**
 * What Linux 6.18 told after each command, and what it may mean for us; u is device 3, flannel.1 device 4. A key that is `gone`
 * is only looked at: a foreign route may stand in its place.
 */
const told: readonly (readonly [string, string, readonly string[]])[] = [
  [
    'bridge fdb append 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent',
    `
      440000001c00000000000000000000000700000004000000c00002010a000200020000000002000008000100
      c0a800021400030000000000000000000000000000000000`,
    ['fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2'],
  ],
  [
    'bridge fdb del 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2',
    `
      440000001d00000000000000000000000700000004000000c00002010a000200020000000002000008000100
      c0a8000214000300000000000f0000000f00000000000000`,
    ['gone fdb 02:00:00:00:00:02 dev flannel.1'],
  ],
  [
    'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent',
    `
      4c0000001c0000000000000040000000020000000400000080000001080001000af402000a00020002000000
      0002000008000400000000001400030000000000000000000000000001000000`,
    ['neighbor 10.244.2.0 dev flannel.1 lladdr 02:00:00:00:00:02'],
  ],
  [
    'ip neigh replace 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud reachable',
    `
      4c0000001c0000000000000042000000020000000400000002000001080001000af402000a00020002000000
      0002000008000400000000001400030000000000000000000000000002000000`,
    ['gone neighbor 10.244.2.0 dev flannel.1'],
  ],
  [
    'ip neigh del 10.244.2.0 dev flannel.1',
    `
      400000001c0000000000000044000000020000000400000020000001080001000af402000800040000000000
      140003000f0000000f0000000f00000001000000
      400000001d0000000000000000000000020000000400000020000001080001000af402000800040000000000
      140003000f0000000f0000000f00000000000000`,
    ['gone neighbor 10.244.2.0 dev flannel.1'],
  ],
  [
    'ip neigh replace 192.168.0.2 lladdr 02:00:00:00:00:02 dev u nud permanent',
    `
      4c0000001c000000000000004600000002000000030000008000000108000100c0a800020a00020002000000
      0002000008000400000000001400030000000000000000000000000001000000`,
    [],
  ],
  [
    'ip address add 10.244.1.0/32 dev flannel.1',
    `
      5400000014000000c8630b6b480000000220800004000000080001000af40100080002000af401000e000300
      666c616e6e656c2e31000000080008008000000014000600ffffffffffffffff24f1010024f10100
      3c00000018000006000000000000000002200000ff02fe020000000008000f00ff000000080001000af40100
      080007000af401000800040004000000`,
    ['address 10.244.1.0/32 dev flannel.1'],
  ],
  [
    'ip address del 10.244.1.0/32 dev flannel.1',
    `
      5400000015000000cb630b6b5e0000000220800004000000080001000af40100080002000af401000e000300
      666c616e6e656c2e31000000080008008000000014000600ffffffffffffffff24f1010024f10100
      3c00000019000000000000000000000002200000ff02fe020000000008000f00ff000000080001000af40100
      080007000af401000800040004000000`,
    [
      'gone address 10.244.1.0/32 dev flannel.1',
      'device flannel.1 lost its address 10.244.1.0/32: entries dropped',
    ],
  ],
  [
    'ip address add 192.168.7.1/24 dev u',
    `
      4c00000014000000cb630b6b60000000021880000300000008000100c0a8070108000200c0a8070106000300
      75000000080008008000000014000600ffffffffffffffff08f2010008f20100
      3c00000018000006000000000000000002200000ff02fe020000000008000f00ff00000008000100c0a80701
      08000700c0a807010800040003000000
      3c00000018000006000000000000000002180000fe02fd010000000008000f00fe00000008000100c0a80700
      08000700c0a807010800040003000000
      3c00000018000006000000000000000002200000ff02fd030000000008000f00ff00000008000100c0a807ff
      08000700c0a807010800040003000000`,
    ['underlay'],
  ],
  [
    'ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    `
      3c00000018000006c9630b6b4a00000002180000fe0300010400000008000f00fe000000080001000af40200
      080005000af402000800040004000000`,
    ['route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink'],
  ],
  [
    'ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink metric 7 table 9',
    `
      4400000018000006c9630b6b4c00000002180000090300010400000008000f0009000000080001000af40200
      0800060007000000080005000af402000800040004000000`,
    [],
  ],
  [
    'ip route add 10.244.2.0/24 via 192.168.0.9 metric 50',
    `
      4400000018000006c9630b6b4e00000002180000fe0300010000000008000f00fe000000080001000af40200
      080006003200000008000500c0a800090800040003000000`,
    ['gone route 10.244.2.0/24 metric 50', 'underlay'],
  ],
  [
    'ip route replace 10.244.2.0/24 via 192.168.0.9',
    `
      3c00000018000001c9630b6b5000000002180000fe0300010000000008000f00fe000000080001000af40200
      08000500c0a800090800040003000000`,
    ['gone route 10.244.2.0/24 metric 0', 'underlay'],
  ],
  [
    'ip route del 10.244.2.0/24 via 192.168.0.9',
    `
      3c00000019000000c9630b6b5200000002180000fe0300010000000008000f00fe000000080001000af40200
      08000500c0a800090800040003000000`,
    ['gone route 10.244.2.0/24 metric 0', 'underlay'],
  ],
  [
    'ip route add 10.244.3.0/24 via 192.168.0.3 dev u proto 117',
    `
      3c00000018000006c9630b6b5400000002180000fe7500010000000008000f00fe000000080001000af40300
      08000500c0a800030800040003000000`,
    ['route 10.244.3.0/24 via 192.168.0.3 dev u proto 117'],
  ],
  [
    'ip route add default via 192.168.0.254',
    `
      3400000018000006ca630b6b5600000002000000fe0300010000000008000f00fe00000008000500c0a800fe
      0800040003000000`,
    ['gone route 0.0.0.0/0 metric 0', 'underlay'],
  ],
  [
    'ip route add 10.244.1.7/32 dev u',
    `
      3400000018000006ca630b6b5800000002200000fe03fd010000000008000f00fe000000080001000af40107
      0800040003000000`,
    ['gone route 10.244.1.7/32 metric 0'],
  ],
  [
    'ip route add blackhole 10.244.1.0/24 proto 117',
    `
      2c00000018000006ca630b6b5a00000002180000fe7500060000000008000f00fe000000080001000af40100`,
    ['route blackhole 10.244.1.0/24 proto 117'],
  ],
  [
    'ip route add 10.99.0.0/16 nexthop via 192.168.0.7 nexthop via 192.168.0.8',
    `
      5000000018000006ca630b6b5c00000002100000fe0300010000000008000f00fe000000080001000a630000
      24000900100000000300000008000500c0a80007100000000300000008000500c0a80008`,
    ['gone route 10.99.0.0/16 metric 0', 'underlay'],
  ],
  [
    'ip -6 address add fd00:1::/128 dev flannel.1 nodad',
    `
      740000001800000600000000000000000a800000fe0200010000000008000f00fe00000014000100fd000001
      0000000000000000000000000800060000010000080004000400000024000c00000000000000000000000000
      00000000000000000000000000000000000000000500140000000000
      480000001400000000000000000000000a8082000400000014000100fd000001000000000000000000000000
      14000600ffffffffffffffff1cf201001cf201000800080082000000
      740000001800000600000000000000000a800000ff0200020000000008000f00ff00000014000100fd000001
      0000000000000000000000000800060000000000080004000400000024000c00000000000000000000000000
      00000000000000000000000000000000000000000500140000000000`,
    ['address fd00:1::/128 dev flannel.1'],
  ],
  [
    'ip -6 route del local fd00:1::/128 dev flannel.1 table local',
    `
      7400000019000000cb630b6b640000000a800000ff0200020000000008000f00ff00000014000100fd000001
      0000000000000000000000000800060000000000080004000400000024000c00000000000000000000000000
      00000000000000000000000000000000000000000500140000000000`,
    [],
  ],
  [
    'ip -6 route del fd00:1::/128 dev flannel.1',
    `
      7400000019000000cb630b6b660000000a800000fe0200010000000008000f00fe00000014000100fd000001
      0000000000000000000000000800060000010000080004000400000024000c00000000000000000000000000
      00000000000000000000000000000000000000000500140000000000`,
    ['gone address fd00:1::/128 dev flannel.1', 'gone route fd00:1::/128 metric 256'],
  ],
]

describe('what the kernel tells', () => {
  it.each(told)('of %s is understood', async (_, hex, meaning) => {
    const { notifications, slot } = start()
    for (const message of datagrams(hex)) notifications.receive(message)
    expect(slot.isFilled ? printed(await slot.take(AbortSignal.timeout(1_000))) : []).toEqual(meaning)
  })

  it('is refused where it is cut short, and harms nothing', () => {
    for (const [, hex] of told)
      for (const message of datagrams(hex)) {
        const { notifications } = start()
        for (let length = 1; length < message.length; length++) {
          const part = Buffer.from(message.subarray(0, length))
          expect(() => notifications.receive(part)).toThrow(NetlinkDecodeError)
          // With a header that says so.
          if (length >= 16) part.writeUInt32LE(length, 0)
          try {
            notifications.receive(part)
          } catch (error) {
            expect(error).toBeInstanceOf(NetlinkDecodeError)
          }
        }
      }
  })
})

/** A host whose flannel.1 has 10.244.1.0/32. */
function start() {
  const slot = new ChangeSlot()
  const scope = {
    devices: ['flannel.1'],
    routeProtocol: TWILL_PROTOCOL,
    networks: [parsePrefix('10.244.0.0/16'), parsePrefix('fd00:1::/48')],
  }
  const notifications = new Notifications(scope, slot)
  for (const [index, name] of [
    [3, 'u'],
    [4, 'flannel.1'],
  ] as const)
    notifications.learnLink({
      family: AF_UNSPEC,
      index,
      name,
      altNames: [],
      mtu: 1500,
      up: true,
      loopback: false,
      mac: undefined,
      master: 0,
      protodown: false,
      kind: '',
      vxlan: undefined,
    })
  const address = { family: AF_INET, index: 4, length: 32, flags: 0, scope: 0, label: 'flannel.1' }
  notifications.learnAddress({ ...address, address: parseIp('10.244.1.0') })
  return { notifications, slot }
}

function datagrams(hex: string): readonly Buffer[] {
  const all = Buffer.from(hex.replaceAll(/\s+/g, ''), 'hex')
  const found: Buffer[] = []
  for (let at = 0; at < all.length; ) {
    const length = all.readUInt32LE(at)
    found.push(all.subarray(at, at + length))
    at += length
  }
  return found
}

function printed({ entries, devices, everything, underlay }: KernelChange): readonly string[] {
  return [
    ...entries.map(({ key, entry }) => (entry === undefined ? `gone ${key}` : printEntry(entry))),
    ...devices.map(({ reason, hasDropped }) => `${reason}${hasDropped ? ': entries dropped' : ''}`),
    ...(everything === undefined ? [] : [everything]),
    ...(underlay ? ['underlay'] : []),
  ]
}
