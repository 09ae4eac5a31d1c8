import { describe, expect, it } from 'vitest'
import { subnetMap } from '../../../agent/map/subnet_map.ts'
import type { Lease } from '../../../lease/lease.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { vxlanLease } from '../../support/leases.ts'

const vxlan = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

/** What the map says of each lease of a table: its state, or its note. */
function judge(config: string, ...leases: Lease[]): Record<string, string> {
  const table = new Map(leases.map(lease => [lease.node, lease]))
  const change = { table, changed: new Set(table.keys()), problems: [] }
  const map = subnetMap({ network: parseNetworkConfig(config), leases: change }, 'etcd')
  return Object.fromEntries(map.leases.map(({ node, refused, note }) => [node, refused ?? note ?? 'ok']))
}

const lease = (node: string, n: number, ip: string, since = n): Lease => ({
  ...vxlanLease(node, `02:00:00:00:00:0${n}`, `10.244.${n}.0/24 at ${ip}`),
  since,
})

describe('the map judges leases as the agents do', () => {
  it('another VNI, a MAC that two leases have, a reservation and another backend are refused', () => {
    const a = lease('a', 2, '192.168.0.2')
    const clone = { ...vxlanLease('clone', '02:00:00:00:00:02', '10.244.3.0/24 at 192.168.0.3'), since: 9 }
    const other = lease('other-vni', 4, '192.168.0.4')
    const vni = {
      ...other,
      subnets: other.subnets.map(it => ({ ...it, backendData: { ...it.backendData, vni: 7 } as never })),
    }
    const reserved = { ...lease('reserved', 5, '192.168.0.5'), backendType: '' }
    const udp = { ...lease('udp', 6, '192.168.0.6'), backendType: 'udp' }
    expect(judge(vxlan, clone, a, vni, reserved, udp)).toEqual({
      a: 'ok',
      clone: "it asks for fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.3, and 'a' had that first",
      'other-vni': "its VNI is 7, the network's is 1: its packets would be dropped",
      reserved: 'it is reserved, and no node has taken it yet',
      udp: "its backend is 'udp', the network's is 'vxlan'",
    })
  })

  it('two leases with one public IP are both programmed, and marked', () => {
    expect(judge(vxlan, lease('a', 2, '192.168.0.2'), lease('b', 3, '192.168.0.2'))).toEqual({
      a: 'its public IP 192.168.0.2 is also that of b',
      b: 'its public IP 192.168.0.2 is also that of a',
    })
  })

  it('with host-gw all peers count as near', () => {
    const config = '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}'
    const plain = { ...lease('a', 2, '192.168.0.2'), backendType: 'host-gw' }
    expect(judge(config, plain)).toEqual({ a: 'ok' })
  })
})
