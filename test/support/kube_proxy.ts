import { type Family, familyOf, type Ip } from '../../lease/net/ip.ts'
import type { Namespace } from './namespace.ts'

/** A Service with one backend. */
export interface Service {
  readonly clusterIp: Ip
  readonly port: number
  readonly backend: Ip
  readonly backendPort: number
}

/**
 * Writes kube-proxy's rules for a Service on one node: with its own names in iptables mode, with the same
 * effect in nftables mode. DNAT for pods and for the node itself; packets from outside of the pods' network,
 * and those of a pod to itself, are marked, and marked packets are masqueraded.
 */
export async function addService(
  node: Namespace,
  service: Service,
  network: string,
  mode: 'iptables' | 'nft',
): Promise<void> {
  const family = familyOf(service.clusterIp)
  if (mode === 'nft') await node.exec(['nft', '-f', '-'], { input: nftRules(service, network, family) })
  else {
    const program = family === 'ipv6' ? 'ip6tables-restore' : 'iptables-restore'
    await node.exec([program, '--noflush'], { input: iptablesRules(service, network) })
  }
}

function iptablesRules({ clusterIp, port, backend, backendPort }: Service, network: string): string {
  const to = clusterIp.includes(':') ? `[${backend}]:${backendPort}` : `${backend}:${backendPort}`
  return `*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC - [0:0]
:KUBE-SEP - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d ${clusterIp} -p tcp --dport ${port} -j KUBE-SVC
-A KUBE-SVC ! -s ${network} -j KUBE-MARK-MASQ
-A KUBE-SVC -j KUBE-SEP
-A KUBE-SEP -s ${backend} -j KUBE-MARK-MASQ
-A KUBE-SEP -p tcp -j DNAT --to-destination ${to}
COMMIT
`
}

function nftRules(service: Service, network: string, family: Family): string {
  const { clusterIp, port, backend, backendPort } = service
  const ip = family === 'ipv6' ? 'ip6' : 'ip'
  const to = family === 'ipv6' ? `[${backend}]:${backendPort}` : `${backend}:${backendPort}`
  return `table ${ip} kube-proxy {
  chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
  chain endpoint {
    ${ip} saddr ${backend} jump mark-for-masquerade
    meta l4proto tcp dnat to ${to}
  }
  chain service {
    ${ip} saddr != ${network} jump mark-for-masquerade
    goto endpoint
  }
  chain services { ${ip} daddr ${clusterIp} tcp dport ${port} goto service; }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat;
    meta mark and 0x4000 == 0 return
    meta mark set meta mark xor 0x4000
    masquerade fully-random
  }
}
`
}
