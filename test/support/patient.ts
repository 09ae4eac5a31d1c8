import { openBackend } from '../../agent/backend/registry.ts'
import type { Patient } from '../../agent/diagnose/doctor/patient.ts'
import type { HostFacts } from '../../agent/diagnose/host_facts.ts'
import type { NodeView } from '../../agent/diagnose/node_view.ts'
import { Peers } from '../../agent/membership/peers.ts'
import type { Lease } from '../../lease/lease.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { parseMac } from '../../lease/net/mac.ts'
import { parsePrefix } from '../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../lease/network_config/parser.ts'

/**
 * The first of two nodes as its agent sees it: 10.244.1.0/24 at 192.168.0.1, its peer 10.244.2.0/24 at
 * 192.168.0.2.
 */
export function nodeView(backendConfig: object = { Type: 'vxlan' }): NodeView {
  const network = parseNetworkConfig(JSON.stringify({ Network: '10.244.0.0/16', Backend: backendConfig }))
  const backend = openBackend(network)
  const [self, peer] = [1, 2].map(n => leaseOf(n, backend.type)) as [Lease, Lease]
  const table = new Map([self, peer].map(one => [one.node, one]))
  const underlay = {
    name: 'eth0',
    underlayMtu: 1500,
    publicIps: [parseIp('192.168.0.1')],
    localIps: [parseIp('192.168.0.1')],
    onLink: [parsePrefix('192.168.0.0/24')],
  }
  const peers = new Peers(network, backend, self, underlay)
  peers.setTable(table, new Set(table.keys()))
  return {
    network,
    backend,
    storeKind: 'etcd',
    self,
    underlay,
    leases: { table, changed: new Set<string>(), problems: [] },
    refused: new Map<string, string>(),
    desired: peers.state.entries,
  }
}

function leaseOf(n: number, backendType: string): Lease {
  const backendData = backendType === 'vxlan' ? { vni: 1, mac: parseMac(`02:00:00:00:00:0${n}`) } : undefined
  return {
    node: `n${n}`,
    backendType,
    since: n,
    subnets: [{ prefix: parsePrefix(`10.244.${n}.0/24`), publicIp: parseIp(`192.168.0.${n}`), backendData }],
  }
}

/** A host without any entries, except those given. */
export function hostFacts(facts: Partial<HostFacts> = {}): HostFacts {
  return {
    links: [],
    rules: [],
    routes: [],
    neighbors: [],
    fdb: [],
    sysctls: {},
    iptables: [],
    nftables: undefined,
    nftText: '',
    reversePathDrops: 0,
    unseen: [],
    ...facts,
  }
}

/** The input of doctor on that node: a healthy agent and an empty host, except for what is given. */
export function patient(given: Partial<Patient> = {}): Patient {
  return {
    view: nodeView(),
    facts: hostFacts(),
    drift: [],
    agent: {
      kind: 'answers',
      version: '1',
      pid: 1,
      notReady: [],
      firewall: 'as desired',
      store: { lastContactMs: 1, trouble: undefined },
    },
    files: {
      subnetFile: '/run/flannel/subnet.env',
      subnets: [parsePrefix('10.244.1.0/24')],
      ipMasq: false,
      cni: { directory: '/etc/cni/net.d', configs: [] },
    },
    portHolders: new Map(),
    kernelRelease: '6.1.0',
    ...given,
  }
}
