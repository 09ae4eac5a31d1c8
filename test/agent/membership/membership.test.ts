import { describe, expect, it } from 'vitest'
import { openBackend } from '../../../agent/backend/registry.ts'
import { Membership } from '../../../agent/membership/membership.ts'
import { type HostNetworks, noHostNetworks } from '../../../lease/admission/host_networks.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { vxlanLease } from '../../support/leases.ts'
import { RecordingLog } from '../../support/log.ts'

const network = parseNetworkConfig('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')

/** What keeps the pods of a node with that lease from being reached on that host. */
function troubles(subnet: string, host: HostNetworks): readonly string[] {
  const self = vxlanLease('self', '02:00:00:00:00:01', subnet)
  const ips = [parseIp('192.168.0.1')]
  const underlay = { name: 'eth0', underlayMtu: 1500, publicIps: ips, localIps: ips, onLink: [] }
  const membership = new Membership({
    network,
    backend: openBackend(network),
    self,
    underlay,
    hostNetworks: () => host,
    standing: new Set(),
    reporter: undefined,
    log: new RecordingLog(),
  })
  return membership.troubles
}

describe('a node says what is wrong with its own lease', () => {
  it('nothing, where it lies beside all that the host lives on', () => {
    expect(troubles('10.244.1.0/24 at 192.168.0.1', noHostNetworks)).toEqual([])
  })

  it('a subnet that was given to it over a network of the host', () => {
    const prefix = parsePrefix('10.244.0.0/20')
    const use = 'is connected to eth1'
    const host = {
      ...noHostNetworks,
      overlapping: [{ prefix, use, refuses: 'overlapping' as const, carriesNode: false }],
    }
    expect(troubles('10.244.1.0/24 at 192.168.0.1', host)).toEqual([
      expect.stringContaining(
        "this node's subnet 10.244.1.0/24 overlaps 10.244.0.0/20, which is connected to eth1",
      ),
    ])
  })

  it('a public IP that peers refuse, which an operator put into the store', () => {
    expect(troubles('10.244.1.0/24 at 10.244.9.9', noHostNetworks)).toEqual([
      expect.stringContaining("peers refuse this node's public IP 10.244.9.9: it lies in the pod network"),
    ])
  })
})
