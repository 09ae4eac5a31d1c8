import { shellQuote } from '../../lease/common/shell_quote.ts'
import { scopeOf } from '../../lease/net/ip.ts'
import { addressAt, contains, type Prefix, prefixLength } from '../../lease/net/prefix.ts'
import type { HostFacts, LinkFacts } from './host_facts.ts'
import { arpIgnore } from './settings.ts'

/** A problem between this host and the pods on a bridge. */
export interface BridgeTrouble {
  /** `broken`: cuts off all pods on the bridge. `risk`: one pod, or pods that start later. */
  readonly severity: 'broken' | 'risk'
  readonly bridge: string
  /** The problem, one sentence. */
  readonly what: string
  readonly evidence: string
  readonly cause: string
  readonly remedy: string
}

/** Names that CNI plugins give to their bridges: a bridge without an address is recognized by them. */
const cniNames = /^(cni|cbr)\d+$/

/** All troubles of the bridges of this node's pods; the one that cuts off most pods first. */
export function bridgeTroubles(facts: HostFacts, subnets: readonly Prefix[]): readonly BridgeTrouble[] {
  return podBridges(facts, subnets).flatMap(bridge => [
    ...down(bridge),
    ...withoutAddress(bridge, facts, subnets),
    ...silent(bridge, facts),
    ...tooWide(bridge, subnets),
    ...ports(bridge, facts),
    ...outside(bridge, facts),
  ])
}

/** Whether a bridge of this node's pods has ports. */
export function hasPods(facts: HostFacts, subnet: Prefix): boolean {
  const names = new Set(podBridges(facts, [subnet]).map(({ name }) => name))
  return facts.links.some(({ master }) => master !== undefined && names.has(master))
}

/**
 * Bridges with an address of this node's subnets; also those without an address that have a CNI plugin's
 * name.
 */
function podBridges({ links }: HostFacts, subnets: readonly Prefix[]): readonly LinkFacts[] {
  return links.filter(
    link => link.kind === 'bridge' && (ownAddresses(link, subnets).length > 0 || isBare(link)),
  )
}

function isBare({ name, addresses }: LinkFacts): boolean {
  return cniNames.test(name) && addresses.every(isLinkLocal)
}

function isLinkLocal({ address }: LinkFacts['addresses'][number]): boolean {
  return scopeOf(address) === 'link-local'
}

function ownAddresses({ addresses }: LinkFacts, subnets: readonly Prefix[]): LinkFacts['addresses'] {
  return addresses.filter(({ address }) => subnets.some(subnet => contains(subnet, address)))
}

/** With a bridge that is set down, the kernel removes the route to its pods. */
function down({ name, up }: LinkFacts): readonly BridgeTrouble[] {
  if (up) return []
  return [
    {
      severity: 'broken',
      bridge: name,
      what: `the pods' bridge ${name} is set down: no pod of this host sends or receives`,
      evidence: `${name} state DOWN`,
      cause: 'a program or an administrator set it down',
      remedy: shellQuote('ip', 'link', 'set', name, 'up'),
    },
  ]
}

/** The bridge has ports, and no address of a family: pods have no gateway. */
function withoutAddress(
  bridge: LinkFacts,
  { links }: HostFacts,
  subnets: readonly Prefix[],
): readonly BridgeTrouble[] {
  const { name } = bridge
  const [subnet] = subnets
  if (!isBare(bridge) || subnet === undefined || !links.some(({ master }) => master === name)) return []
  const gateway = `${addressAt(subnet, 1)}/${prefixLength(subnet)}`
  return [
    {
      severity: 'broken',
      bridge: name,
      what: `the pods' bridge ${name} has no address: pods have no gateway, and this host no route to them`,
      evidence: `${name} has ports and no address of ${subnets.join(' + ')}`,
      cause: 'a program or an administrator removed it; the CNI plugin adds it only with the next pod',
      remedy: shellQuote('ip', 'address', 'add', gateway, 'dev', name),
    },
  ]
}

/** arp_ignore 8: no answer for any local address (ip-sysctl: the larger of `all` and the device). */
function silent({ name }: LinkFacts, { sysctls }: HostFacts): readonly BridgeTrouble[] {
  const setting = ['all', name].map(arpIgnore).find(key => sysctls[key] === '8')
  if (setting === undefined) return []
  return [
    {
      severity: 'broken',
      bridge: name,
      what: `this host answers no ARP on ${name}: pods do not find their gateway`,
      evidence: `${setting} = 8`,
      cause: 'a sysctl file or a program set it',
      remedy: shellQuote('sysctl', '-w', `${setting}=0`),
    },
  ]
}

/** Ports that are set down or held back by STP. */
function ports({ name, up }: LinkFacts, { links }: HostFacts): readonly BridgeTrouble[] {
  if (!up) return []
  const own = links.filter(({ master }) => master === name)
  const still = own.filter(port => !port.up || port.portState === 'blocking')
  return still.slice(0, 1).map(port => ({
    severity: 'risk',
    bridge: name,
    what: `a pod is cut off: ${port.name}, its port of ${name}, ${port.up ? 'is blocked' : 'is set down'}`,
    evidence: still.map(one => `${one.name} ${one.up ? `state ${one.portState}` : 'state DOWN'}`).join(', '),
    cause: port.up
      ? 'the spanning tree protocol found a loop behind that port'
      : 'a program or an administrator set it down',
    remedy: port.up
      ? `see bridge link show dev ${port.name}; find the second way that leads to ${name}`
      : shellQuote('ip', 'link', 'set', port.name, 'up'),
  }))
}

/** With a shorter prefix length, pods send ARP or NDP requests for other nodes' pods on their own bridge. */
function tooWide(bridge: LinkFacts, subnets: readonly Prefix[]): readonly BridgeTrouble[] {
  const { name } = bridge
  const wide = ownAddresses(bridge, subnets).flatMap(({ address, length }) => {
    const subnet = subnets.find(one => contains(one, address))
    return subnet !== undefined && length < prefixLength(subnet) ? [{ address, length, subnet }] : []
  })
  return wide.slice(0, 1).map(({ address, length, subnet }) => ({
    severity: 'risk',
    bridge: name,
    what: `the pods' bridge ${name} claims more than this node's subnet: pods look for other nodes' pods on it`,
    evidence: `${address}/${length}; the subnet is ${subnet}`,
    cause: 'the CNI config names the whole network as its subnet, or the address was set by hand',
    remedy: `correct the CNI config; then delete the pods of this node and the bridge (${shellQuote('ip', 'link', 'delete', name)})`,
  }))
}

/** Host ends of pods' veth pairs that are in no bridge and have no route. */
function outside({ name }: LinkFacts, { links, routes }: HostFacts): readonly BridgeTrouble[] {
  const routed = new Set(
    routes.flatMap(({ table, dst, dev }) => (table === 'main' && !dst.startsWith('fe80:') ? [dev] : [])),
  )
  const isLoose = ({ name: own, up, leadsElsewhere, master, addresses }: LinkFacts) =>
    leadsElsewhere && up && master === undefined && !routed.has(own) && addresses.every(isLinkLocal)
  const underlays = new Set(links.map(({ vxlan }) => vxlan?.underlay))
  const loose = links.filter(link => isLoose(link) && !underlays.has(link.name))
  return loose.slice(0, 1).map(port => ({
    severity: 'risk',
    bridge: name,
    what: `a pod may be cut off: ${port.name} leads to a pod, and is no port of ${name}`,
    evidence: loose.map(one => `${one.name} has no master, and no route`).join(', '),
    cause: 'a program or an administrator took it out of the bridge, or the bridge was made again',
    remedy: `${shellQuote('ip', 'link', 'set', port.name, 'master', name)}, or make the pod again`,
  }))
}
