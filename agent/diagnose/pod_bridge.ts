import { shellQuote } from '../../lease/common/shell_quote.ts'
import { scopeOf } from '../../lease/net/ip.ts'
import { addressAt, contains, type Prefix, prefixLength } from '../../lease/net/prefix.ts'
import { deviceSetting } from '../state/device_setting.ts'
import { isPodBridge } from './bridge_subnet.ts'
import type { Finding } from './doctor/finding.ts'
import type { HostFacts, LinkFacts } from './host_facts.ts'

/** `broken`: cuts off all pods on the bridge. `risk`: one pod, or pods that start later. */
export interface BridgeTrouble {
  readonly bridge: string
  readonly finding: Finding
}

type BridgeCheck = (bridge: LinkFacts, facts: HostFacts, subnets: readonly Prefix[]) => Trouble | undefined

type Trouble = Omit<Finding, 'check'>

/** Those that cut off most pods first. */
const checks: readonly BridgeCheck[] = [down, withoutAddress, silent, tooWide, ports, outside]

export function bridgeTroubles(facts: HostFacts, subnets: readonly Prefix[]): readonly BridgeTrouble[] {
  return podBridges(facts, subnets).flatMap(bridge =>
    checks.flatMap(check => {
      const trouble = check(bridge, facts, subnets)
      return trouble ? [{ bridge: bridge.name, finding: { check: 'pod bridge', ...trouble } }] : []
    }),
  )
}

/** Whether a bridge of this node's pods has ports. */
export function hasPods(facts: HostFacts, subnet: Prefix): boolean {
  const names = new Set(podBridges(facts, [subnet]).map(({ name }) => name))
  return facts.links.some(({ master }) => master !== undefined && names.has(master))
}

/** Bridges with an address of this node's subnets, or without an address and with a CNI plugin's name. */
function podBridges({ links }: HostFacts, subnets: readonly Prefix[]): readonly LinkFacts[] {
  const isOwn = ({ addresses }: LinkFacts) =>
    addresses.some(({ address }) => subnets.some(subnet => contains(subnet, address)))
  return links.filter(link => link.kind === 'bridge' && (isOwn(link) || isBare(link)))
}

function isBare({ name, addresses }: LinkFacts): boolean {
  return isPodBridge(name) && addresses.every(isLinkLocal)
}

function isLinkLocal({ address }: LinkFacts['addresses'][number]): boolean {
  return scopeOf(address) === 'link-local'
}

/** With a bridge that is set down, the kernel removes the route to its pods. */
function down({ name, up }: LinkFacts): Trouble | undefined {
  if (up) return undefined
  return {
    severity: 'broken',
    what: `the pods' bridge ${name} is set down: no pod of this host sends or receives`,
    evidence: `${name} state DOWN`,
    cause: 'a program or an administrator set it down',
    remedy: shellQuote('ip', 'link', 'set', name, 'up'),
  }
}

/** The bridge has ports, and no address of a family: pods have no gateway. */
function withoutAddress(bridge: LinkFacts, { links }: HostFacts, subnets: readonly Prefix[]) {
  const { name } = bridge
  const [subnet] = subnets
  if (!isBare(bridge) || subnet === undefined || !links.some(({ master }) => master === name))
    return undefined
  const gateway = `${addressAt(subnet, 1)}/${prefixLength(subnet)}`
  return {
    severity: 'broken',
    what: `the pods' bridge ${name} has no address: pods have no gateway, and this host no route to them`,
    evidence: `${name} has ports and no address of ${subnets.join(' + ')}`,
    cause: 'a program or an administrator removed it; the CNI plugin adds it only with the next pod',
    remedy: shellQuote('ip', 'address', 'add', gateway, 'dev', name),
  } as const
}

/** arp_ignore 8: no answer for any local address (ip-sysctl: the larger of `all` and the device). */
function silent({ name }: LinkFacts, { sysctls }: HostFacts): Trouble | undefined {
  const settings = ['all', name].map(device => deviceSetting('ipv4', device, 'arp_ignore'))
  const setting = settings.find(key => sysctls[key] === '8')
  if (setting === undefined) return undefined
  return {
    severity: 'broken',
    what: `this host answers no ARP on ${name}: pods do not find their gateway`,
    evidence: `${setting} = 8`,
    cause: 'a sysctl file or a program set it',
    remedy: shellQuote('sysctl', '-w', `${setting}=0`),
  }
}

/** Ports that are set down or held back by STP. */
function ports({ name, up }: LinkFacts, { links }: HostFacts): Trouble | undefined {
  const own = links.filter(({ master }) => master === name)
  const still = own.filter(port => !port.up || port.portState === 'blocking')
  const [port] = still
  if (!up || port === undefined) return undefined
  return {
    severity: 'risk',
    what: `a pod is cut off: ${port.name}, its port of ${name}, ${port.up ? 'is blocked' : 'is set down'}`,
    evidence: still.map(one => `${one.name} ${one.up ? `state ${one.portState}` : 'state DOWN'}`).join(', '),
    cause: port.up
      ? 'the spanning tree protocol found a loop behind that port'
      : 'a program or an administrator set it down',
    remedy: port.up
      ? `see ${shellQuote('bridge', 'link', 'show', 'dev', port.name)}; find the second way that leads to ${name}`
      : shellQuote('ip', 'link', 'set', port.name, 'up'),
  }
}

/** With a shorter prefix length, pods send ARP or NDP requests for other nodes' pods on their own bridge. */
function tooWide({ name, addresses }: LinkFacts, _: HostFacts, subnets: readonly Prefix[]) {
  for (const { address, length } of addresses) {
    const subnet = subnets.find(one => contains(one, address))
    if (subnet === undefined || length >= prefixLength(subnet)) continue
    return {
      severity: 'risk',
      what: `the pods' bridge ${name} claims more than this node's subnet: pods look for other nodes' pods on it`,
      evidence: `${address}/${length}; the subnet is ${subnet}`,
      cause: 'the CNI config names the whole network as its subnet, or the address was set by hand',
      remedy: `correct the CNI config; then delete the pods of this node and the bridge (${shellQuote('ip', 'link', 'delete', name)})`,
    } as const
  }
  return undefined
}

/** Host ends of pods' veth pairs that are in no bridge and have no route. */
function outside({ name }: LinkFacts, { links, routes }: HostFacts): Trouble | undefined {
  const routed = new Set(
    routes.flatMap(({ table, dst, dev }) => (table === 'main' && !dst.startsWith('fe80:') ? [dev] : [])),
  )
  const isLoose = ({ name: own, up, leadsElsewhere, master, addresses }: LinkFacts) =>
    leadsElsewhere && up && master === undefined && !routed.has(own) && addresses.every(isLinkLocal)
  const underlays = new Set(links.map(({ vxlan }) => vxlan?.underlay))
  const loose = links.filter(link => isLoose(link) && !underlays.has(link.name))
  const [port] = loose
  if (port === undefined) return undefined
  return {
    severity: 'risk',
    what: `a pod may be cut off: ${port.name} leads to a pod, and is no port of ${name}`,
    evidence: loose.map(one => `${one.name} has no master, and no route`).join(', '),
    cause: 'a program or an administrator took it out of the bridge, or the bridge was made again',
    remedy: `${shellQuote('ip', 'link', 'set', port.name, 'master', name)}, or make the pod again`,
  }
}
