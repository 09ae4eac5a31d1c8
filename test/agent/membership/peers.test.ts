import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Underlay } from '../../../agent/backend/backend.ts'
import { openBackend } from '../../../agent/backend/registry.ts'
import { Peers, SELF } from '../../../agent/membership/peers.ts'
import { printEntry } from '../../../agent/state/print.ts'
import type { Lease } from '../../../lease/lease.ts'
import { type Ip, parseIp } from '../../../lease/net/ip.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { vtep, vxlanLease } from '../../support/leases.ts'

const network = parseNetworkConfig('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
const underlay: Underlay = {
  name: 'eth0',
  underlayMtu: 1500,
  publicIps: [parseIp('192.168.0.1')],
  localIps: [parseIp('192.168.0.1')],
  onLink: [],
}
const self = vxlanLease('self', '02:00:00:00:00:01', '10.244.1.0/24 at 192.168.0.1')
const mac2 = '02:00:00:00:00:02'
const older: Lease = { ...vxlanLease('older', mac2, '10.244.2.0/24 at 192.168.0.2'), since: 2 }
const younger: Lease = { ...vxlanLease('younger', mac2, '10.244.3.0/24 at 192.168.0.3'), since: 3 }
const other: Lease = { ...vxlanLease('other', '02:00:00:00:00:04', '10.244.4.0/24 at 192.168.0.4'), since: 4 }

describe('peers', () => {
  let peers: Peers
  let table: Map<string, Lease>
  beforeEach(() => {
    table = new Map([['self', self]])
    peers = new Peers(network, openBackend(network), self, underlay)
    peers.setTable(table, new Set(['self']))
  })

  const come = (...leases: Lease[]) => {
    table = new Map([...table, ...leases.map((lease): [string, Lease] => [lease.node, lease])])
    return peers.setTable(table, new Set(leases.map(({ node }) => node)))
  }
  const go = (node: string) => {
    table = new Map([...table].filter(([name]) => name !== node))
    return peers.setTable(table, new Set([node]))
  }
  const entriesOf = (node: string) => peers.state.entriesOf(node).map(printEntry)

  it('have three entries each, and a change touches those alone', () => {
    come(older)
    expect([...come(other)].sort()).toEqual([
      'fdb 02:00:00:00:00:04 dev flannel.1',
      'neighbor 10.244.4.0 dev flannel.1',
      'route 10.244.4.0/24 metric 0',
    ])
    expect([...go('other')]).toHaveLength(3)
    expect([peers.count, entriesOf('other')]).toEqual([1, []])
  })

  it.each([
    ['the older first', [older, younger], 'older'],
    ['the younger first', [younger, older], 'younger'],
    ['both at once', [[younger, older]], 'older'],
  ])('that claim one MAC: the one that is programmed keeps it: %s', (_, arrivals, holder) => {
    for (const arrival of arrivals) come(...[arrival].flat())
    const loser = holder === 'older' ? 'younger' : 'older'
    expect(entriesOf(holder)).toContain(
      `fdb 02:00:00:00:00:02 dev flannel.1 dst ${holder === 'older' ? '192.168.0.2' : '192.168.0.3'}`,
    )
    expect(entriesOf(loser)).toEqual([])
    expect([...peers.refused.keys()]).toEqual([loser])
    expect(peers.refused.get(loser)).toContain(`'${holder}' had that first`)
    peers.setSelf(self, { ...underlay, underlayMtu: 1400 })
    expect(entriesOf(loser)).toEqual([])
  })

  it('that claim one MAC: the one that changes its address loses it to the one that waits', () => {
    come(older)
    come(younger)
    come({ ...vxlanLease('older', mac2, '10.244.2.0/24 at 192.168.0.99'), since: 2 })
    expect(entriesOf('younger')).toContain('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.3')
    expect([...peers.refused.keys()]).toEqual(['older'])
  })

  it('that change their address alone lose nothing', () => {
    come(older, other)
    come({ ...vxlanLease('older', mac2, '10.244.2.0/24 at 192.168.0.99'), since: 2 })
    expect(entriesOf('older')[0]).toBe('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.99')
    expect(peers.refused.size).toBe(0)
  })

  it('of one host under two names share what both want, until the last of them goes', () => {
    const renamed: Lease = { ...vxlanLease('renamed', mac2, '10.244.3.0/24 at 192.168.0.2'), since: 9 }
    come(older)
    come(renamed)
    const fdb = 'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2'
    expect([entriesOf('older')[0], entriesOf('renamed')[0]]).toEqual([fdb, fdb])
    expect([...peers.shared]).toEqual([['192.168.0.2', ['older', 'renamed']]])
    go('older')
    expect(peers.state.entries.has('fdb 02:00:00:00:00:02 dev flannel.1')).toBe(true)
    expect([...peers.state.entries.keys()]).not.toContain('route 10.244.2.0/24 metric 0')
    expect(peers.shared.size).toBe(0)
    go('renamed')
    expect(peers.state.entries.has('fdb 02:00:00:00:00:02 dev flannel.1')).toBe(false)
  })

  it('that cannot be derived for an error that no code expects are refused, and hold up no other', () => {
    const backend = openBackend(network)
    const unexpected: string[] = []
    const broken = {
      ...backend,
      peerEntries: (own: Lease, peer: Lease, below: Underlay) => {
        if (peer.node === 'older') throw new TypeError('broken on purpose')
        return backend.peerEntries(own, peer, below)
      },
    }
    peers = new Peers(network, broken, self, underlay, node => unexpected.push(node))
    peers.setTable(table, new Set(['self']))
    come(older, other)
    expect([peers.refused.get('older'), entriesOf('other').length, unexpected]).toEqual([
      'broken on purpose',
      3,
      ['older'],
    ])
  })

  it.each([
    ['an older lease that was there before', 0, [true, false], undefined],
    ['a younger one', 9, [false, false], undefined],
    ['its own one of a former name', 0, [false, false], '192.168.0.1'],
  ])(
    "with this node's own MAC are its trouble where they had it first: %s",
    (_, since, expected, ip = '192.168.0.5') => {
      const clone = { ...vxlanLease('clone', '02:00:00:00:00:01', `10.244.5.0/24 at ${ip}`), since }
      const own = { ...self, since: 5 }
      peers = new Peers(network, openBackend(network), own, underlay)
      table = new Map([['self', own]])
      peers.setTable(new Map([...table, ['clone', clone]]), new Set(['self', 'clone']))
      const before =
        peers.trouble?.includes("'clone' (10.244.5.0/24 at 192.168.0.5), which had it first") ?? false
      go('clone')
      expect([before, peers.trouble !== undefined]).toEqual(expected)
    },
  )

  it.each([
    ['leaves', () => go('older')],
    [
      'takes another MAC',
      () => come({ ...vxlanLease('older', '02:00:00:00:00:07', '10.244.2.0/24 at 192.168.0.2'), since: 2 }),
    ],
  ])('that stood behind another one get what they claim when that one %s', (_, act) => {
    come(older, younger)
    act()
    expect(entriesOf('younger')).toContain('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.3')
    expect(peers.refused.size).toBe(0)
  })

  it('that stand before a younger one and behind an older one take nothing from either', () => {
    const dual = parseNetworkConfig(
      '{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd10:244::/48","Backend":{"Type":"vxlan"}}',
    )
    const both: Underlay = {
      ...underlay,
      publicIps: [parseIp('192.168.0.1'), parseIp('fd00::1')],
      localIps: [parseIp('192.168.0.1'), parseIp('fd00::1')],
    }
    const lease = (node: string, n: number, since: number, mac4: string, mac6: string): Lease => {
      const made = vxlanLease(
        node,
        mac4,
        `10.244.${n}.0/24 at 192.168.0.${n}`,
        `fd10:244:0:${n}::/64 at fd00::${n}`,
      )
      const subnets = made.subnets.map((subnet, i) => ({
        ...subnet,
        backendData: vtep(i === 0 ? mac4 : mac6),
      }))
      return { ...made, since, subnets }
    }
    const [a, b, c] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c']
    const me = lease('self', 1, 0, '02:00:00:00:00:01', '02:00:00:00:00:01')
    peers = new Peers(dual, openBackend(dual), me, both)
    table = new Map([['self', me]])
    peers.setTable(table, new Set(['self']))
    come(lease('oldest', 2, 1, c, a), lease('youngest', 3, 9, b, c))
    come(lease('between', 4, 5, b, a))
    expect(entriesOf('oldest')).toContain('fdb 02:00:00:00:00:0a dev flannel-v6.1 dst fd00::2')
    expect(peers.state.entries.get('fdb 02:00:00:00:00:0a dev flannel-v6.1')).toMatchObject({
      dst: 'fd00::2',
    })
    expect(entriesOf('youngest')).toContain('fdb 02:00:00:00:00:0b dev flannel.1 dst 192.168.0.3')
    expect([...peers.refused.keys()]).toEqual(['between'])
  })

  it('that cannot be used are refused with the reason, and hold up no other', () => {
    come(vxlanLease('clone', '02:00:00:00:00:01', '10.244.5.0/24 at 192.168.0.5'), other)
    expect(peers.refused.get('clone')).toContain('is our own')
    expect([peers.count, entriesOf('other').length]).toEqual([1, 3])
  })

  it('follow our own lease: what sits on the device is derived again', () => {
    come(other)
    const touched = peers.setSelf(self, { ...underlay, localIps: [parseIp('192.168.0.9')] })
    expect(peers.state.entriesOf(SELF).map(printEntry)[0]).toContain('local 192.168.0.9')
    expect([...peers.state.entries.values()][0]?.kind).toBe('link')
    expect(touched.has('route 10.244.4.0/24 metric 0')).toBe(true)
  })

  it('tell of each public IP that comes or goes, so that who heard of all has what is programmed', () => {
    const node = fc.constantFrom('a', 'b', 'c', 'd', 'self')
    const lease = fc
      .record({
        node,
        mac: fc.nat(4),
        prefix: fc.nat(3),
        ip: fc.integer({ min: 1, max: 4 }),
        since: fc.nat(3),
      })
      .map(({ node, mac, prefix, ip, since }) => ({
        ...vxlanLease(node, `02:00:00:00:00:0${mac + 1}`, `10.244.${prefix}.0/24 at 192.168.0.${ip}`),
        since,
      }))
    const change = fc.oneof({ weight: 4, arbitrary: lease }, node)
    fc.assert(
      fc.property(fc.array(fc.array(change, { minLength: 1, maxLength: 3 })), rounds => {
        const heard = new Set<Ip>()
        const touched: Ip[] = []
        const told = (ip: Ip) => touched.push(ip)
        const walked = new Peers(network, openBackend(network), self, underlay, undefined, undefined, told)
        const table = new Map<string, Lease>()
        for (const changes of rounds) {
          for (const it of changes) typeof it === 'string' ? table.delete(it) : table.set(it.node, it)
          const own = changes.find(it => typeof it !== 'string' && it.node === 'self')
          if (typeof own === 'object') walked.setSelf(own, underlay)
          walked.setTable(table, new Set(changes.map(it => (typeof it === 'string' ? it : it.node))))
          for (const ip of touched.splice(0)) walked.hasPublicIp(ip) ? heard.add(ip) : heard.delete(ip)
          expect([...heard].sort()).toEqual([...walked.publicIps].sort())
        }
      }),
    )
  })
})
