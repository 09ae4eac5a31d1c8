import { writeFileSync } from 'node:fs'
import { familyOf, type Ip } from '../../lease/net/ip.ts'
import { addressAt, networkAddress, type Prefix, parsePrefix } from '../../lease/net/prefix.ts'
import type { Host } from './host.ts'

// The overlay as an administrator would type it with `ip` and `bridge`, without an agent, to compare with an
// agent's work. Devices and entries are the same, so that a difference in traffic is caused by the agent.

export interface HandMade {
  readonly host: Host
  /** One for each family of the network, in its order. */
  readonly subnets: readonly Prefix[]
}

/** Connects all hosts with each other; each gets a subnet file, so that `host.pod()` works. */
export async function wireByHand(
  hosts: readonly Host[],
  {
    backend = 'vxlan',
    families = ['ipv4'],
  }: { backend?: 'vxlan' | 'host-gw'; families?: readonly string[] } = {},
): Promise<HandMade[]> {
  const wired = hosts.map((host, i) => ({ host, subnets: families.map(family => subnet(family, i + 1)) }))
  await Promise.all(wired.map(one => wire(one, wired, backend)))
  return wired
}

async function wire(self: HandMade, all: readonly HandMade[], backend: 'vxlan' | 'host-gw'): Promise<void> {
  const deviceMtu =
    backend === 'vxlan'
      ? self.host.segment.mtu - Math.max(...self.subnets.map(headroom))
      : self.host.segment.mtu
  const peers = all.filter(one => one !== self)
  for (const [i, own] of self.subnets.entries()) {
    const remotes = peers.map(peer => ({ subnet: peer.subnets[i] as Prefix, at: underlayOf(peer.host, own) }))
    if (backend === 'vxlan') await wireVxlan(self.host, own, remotes, deviceMtu)
    else await self.host.ip(remotes.map(({ subnet, at }) => `route add ${subnet} via ${at} dev eth0`))
  }
  writeSubnetFile(self, deviceMtu)
}

async function wireVxlan(
  host: Host,
  own: Prefix,
  remotes: readonly { subnet: Prefix; at: Ip }[],
  mtu: number,
): Promise<void> {
  const v6 = familyOf(own) === 'ipv6'
  const device = v6 ? 'flannel-v6.1' : 'flannel.1'
  const local = `local ${underlayOf(host, own)} dev eth0 dstport 8472 nolearning`
  await host.ip([
    `link add ${device} mtu ${mtu} address ${vtepMac(own)} type vxlan id 1 ${local}`,
    `address add ${networkAddress(own)}/${v6 ? 128 : 32} dev ${device}`,
    `link set ${device} up`,
    ...remotes.flatMap(({ subnet }) => [
      `neigh replace ${networkAddress(subnet)} lladdr ${vtepMac(subnet)} dev ${device} nud permanent`,
      `route add ${subnet} via ${networkAddress(subnet)} dev ${device} onlink`,
    ]),
  ])
  await host.bridge(
    remotes.map(({ subnet, at }) => `fdb replace ${vtepMac(subnet)} dev ${device} dst ${at} self permanent`),
  )
}

/** 10.99.1.0/24 and fd99:0:0:1::/64 for the first host, and so on. */
function subnet(family: string, n: number): Prefix {
  return parsePrefix(family === 'ipv6' ? `fd99:0:0:${n.toString(16)}::/64` : `10.99.${n}.0/24`)
}

/** A locally administered MAC made from the subnet's number, another for each family. */
function vtepMac(prefix: Prefix): string {
  const v6 = familyOf(prefix) === 'ipv6'
  const n = v6 ? Number.parseInt(prefix.split(':')[3] ?? '', 16) : Number(prefix.split('.')[2])
  return `02:99:00:00:0${v6 ? 6 : 4}:${n.toString(16).padStart(2, '0')}`
}

function underlayOf(host: Host, prefix: Prefix): Ip {
  return host.address(familyOf(prefix))
}

/** Outer IP header, UDP, VXLAN and the inner Ethernet header, in bytes (RFC 7348, section 5). */
function headroom(prefix: Prefix): number {
  return familyOf(prefix) === 'ipv6' ? 70 : 50
}

function writeSubnetFile({ host, subnets }: HandMade, deviceMtu: number): void {
  const lines = subnets.map(own => {
    const key = familyOf(own) === 'ipv6' ? 'FLANNEL_IPV6_SUBNET' : 'FLANNEL_SUBNET'
    return `${key}=${addressAt(own, 1)}${own.slice(own.indexOf('/'))}\n`
  })
  writeFileSync(host.subnetFile, `${lines.join('')}FLANNEL_MTU=${deviceMtu}\nFLANNEL_IPMASQ=false\n`)
}
