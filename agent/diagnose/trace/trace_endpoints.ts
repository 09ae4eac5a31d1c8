import { ExpectedError } from '../../../lease/common/errors.ts'
import { holds, type LeaseTable } from '../../../lease/lease.ts'
import { familyOf, type Ip, ipOrUndefined } from '../../../lease/net/ip.ts'
import { addressAt, contains, networkAddress, type Prefix } from '../../../lease/net/prefix.ts'
import type { NodeView } from '../node_view.ts'

/** An operand stands for no address, or for none that this node traces. */
export class EndpointError extends ExpectedError {
  override name = 'EndpointError'
}

/**
 * Source and destination of a trace. Accepts addresses, and node names and public IPs, which stand for the
 * node's own address in the overlay; names of pods if `pods` has their addresses. Both results have one
 * family: if a name has several addresses, the other operand decides. Throws EndpointError.
 */
export function traceEndpoints(
  operands: readonly string[],
  leases: LeaseTable,
  pods: ReadonlyMap<string, readonly Ip[]>,
): readonly [Ip, Ip] {
  // A pod in the host's network has its node's public IP.
  const ofPod = (word: string) => pods.get(word)?.flatMap(ip => addressesOf(ip, leases))
  const [src = [], dst = []] = operands.map(word => ofPod(word) ?? addressesOf(word, leases))
  for (const to of dst) {
    const from = src.find(ip => familyOf(ip) === familyOf(to))
    if (from !== undefined) return [from, to]
  }
  throw new EndpointError(`${operands.join(' and ')} have no address family in common`)
}

/** Throws EndpointError for a packet that does not start on this host, or does not go into the network. */
export function refuseElsewhere({ self, network, leases: { table } }: NodeView, from: Ip, to: Ip): void {
  const leases = [...table.values()]
  const networks = network.families.map(one => one.network)
  if (!networks.some(prefix => contains(prefix, to)) && !leases.some(lease => holds(lease, to)))
    throw new EndpointError(
      `${to} is no address of the network ${networks.join(' + ')}: \`ip route get ${to}\` shows the way to it`,
    )
  const owner = leases.find(lease => holds(lease, from))
  if (self === undefined || owner === undefined || holds(self, from)) return
  const there = owner.subnets.find(({ prefix }) => contains(prefix, from))?.publicIp
  const swapped = `; or run \`twill trace ${to} ${from}\` here, which shows the way back too`
  throw new EndpointError(
    `${from} is on ${owner.node} at ${there}, and a trace begins on the host of its source: run it there${holds(self, to) ? swapped : ''}`,
  )
}

function addressesOf(word: string, leases: LeaseTable): readonly Ip[] {
  const lease = leases.get(word)
  if (lease !== undefined) return lease.subnets.map(({ prefix }) => nodeAddress(prefix, lease.backendType))
  const ip = ipOrUndefined(word)
  if (ip === undefined)
    throw new EndpointError(
      `'${word}' is neither an IP address nor the name of a node: \`twill map\` lists the nodes; with Kubernetes, pods are named NAMESPACE/NAME`,
    )
  const owner = [...leases.values()].find(({ subnets }) => subnets.some(({ publicIp }) => publicIp === ip))
  return owner === undefined ? [ip] : addressesOf(owner.node, leases)
}

/** `namespace/name`; undefined for a word that names no pod. */
export function podNameOf(word: string): readonly [namespace: string, name: string] | undefined {
  const [namespace = '', name = '', ...more] = word.split('/')
  return namespace === '' || name === '' || more.length > 0 ? undefined : [namespace, name]
}

/** A VTEP has its subnet's network address; the first host address is the bridge's. */
function nodeAddress(prefix: Prefix, backendType: string): Ip {
  return backendType === 'vxlan' ? networkAddress(prefix) : addressAt(prefix, 1)
}
