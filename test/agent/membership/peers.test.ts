import { beforeEach, describe, expect, it } from 'vitest'
import type { Underlay } from '../../../agent/backend/backend.ts'
import { openBackend } from '../../../agent/backend/registry.ts'
import { Peers, SELF } from '../../../agent/membership/peers.ts'
import { printEntry } from '../../../agent/state/print.ts'
import type { Lease } from '../../../lease/lease.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parseNetworkConfig } from '../../../lease/network_config.ts'
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
    ['the older first', [older, younger]],
    ['the younger first', [younger, older]],
    ['both at once', [[younger, older]]],
  ])('that claim one MAC: the older has it, whoever came first: %s', (_, arrivals) => {
    for (const arrival of arrivals) come(...[arrival].flat())
    expect(entriesOf('older')).toContain('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2')
    expect(entriesOf('younger')).toEqual([])
    expect([...peers.refused.keys()]).toEqual(['younger'])
    expect(peers.refused.get('younger')).toContain('older')
  })

  it.each([
    ['leaves', () => go('older')],
    [
      'takes another MAC',
      () => come({ ...vxlanLease('older', '02:00:00:00:00:07', '10.244.2.0/24 at 192.168.0.2'), since: 2 }),
    ],
  ])('that stood behind an older one get what they claim when that one %s', (_, act) => {
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

  it('that cannot be used are refused with the reason, and hold up nobody', () => {
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
})
