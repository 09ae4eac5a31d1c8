import { type BackendData, backendDataJson } from '../../backend_data.ts'
import { messageOf } from '../../common/errors.ts'
import { goJson } from '../../json/json.ts'
import type { Lease, Subnet } from '../../lease.ts'
import { type Family, familyOf, type Ip } from '../../net/ip.ts'
import { contains, type Prefix } from '../../net/prefix.ts'
import type { NetworkConfig } from '../../network_config/network_config.ts'
import { LeaseRefusedError } from '../../store.ts'
import { type AnnotationNames, isManaged, parseIpOf, podPrefixes, readData } from '../nodes/annotations.ts'
import type { NodeObject } from '../nodes/node_object.ts'

/** What this node publishes: one value for each family of the network, but all podCIDRs of its Node. */
export interface Publication {
  readonly podCidrs: readonly string[]
  readonly backendType: string
  readonly publicIps: readonly Ip[]
  readonly backendData: readonly BackendData[]
}

/**
 * This Node's podCIDRs, one for each family of the network, in its order. Throws LeaseRefusedError where one
 * is missing or outside of the network: kube-controller-manager and net-conf.json disagree, and no pod could
 * be reached.
 */
export function ownPrefixes(node: NodeObject, network: NetworkConfig, file: string): readonly Prefix[] {
  const prefixes = parsePodPrefixes(node)
  return network.families.map(({ family, network: whole }) => {
    const key = networkKey[family]
    const prefix = prefixes.find(candidate => familyOf(candidate) === family)
    if (prefix === undefined)
      throw new LeaseRefusedError(
        `Cannot lease a subnet to Node ${node.name}: its podCIDRs ${prefixes.join(', ')} hold none for ${key} ${whole} of ${file}; give kube-controller-manager a --cluster-cidr of that family, or take ${key} out of ${file}`,
      )
    if (!contains(whole, prefix))
      throw new LeaseRefusedError(
        `Cannot lease a subnet to Node ${node.name}: its podCIDR ${prefix} is outside of ${key} ${whole} in ${file}; set ${key} to the --cluster-cidr of kube-controller-manager`,
      )
    return prefix
  })
}

/**
 * The podCIDRs as text, to compare and to log: `10.244.1.0/24, fd00::/64`. The text as written where they
 * cannot be leased.
 */
export function printOwnPrefixes(node: NodeObject, network: NetworkConfig, file: string): string {
  try {
    return ownPrefixes(node, network, file).join(', ')
  } catch (cause) {
    if (!(cause instanceof LeaseRefusedError)) throw cause
    return node.podCidrs?.join(', ') || 'none'
  }
}

const networkKey: Record<Family, string> = { ipv4: 'Network', ipv6: 'IPv6Network' }

function parsePodPrefixes(node: NodeObject): readonly Prefix[] {
  try {
    return podPrefixes(node)
  } catch (cause) {
    const why = messageOf(cause)
    throw new LeaseRefusedError(`Cannot lease a subnet to Node ${node.name}: ${why}`, { cause })
  }
}

/**
 * The lease in this Node's own annotations, by any writer. Lenient, because only the backend data matter: a
 * VTEP keeps the MAC that its peers know.
 */
export function previousLease(
  node: NodeObject,
  prefixes: readonly Prefix[],
  publicIps: readonly Ip[],
  names: AnnotationNames,
): Lease | undefined {
  if (!isManaged(node, names)) return undefined
  const subnets = prefixes.flatMap((prefix, i): Subnet[] => {
    const family = names.families[familyOf(prefix)]
    const publicIp = tryIp(prefix, node.annotations.get(family.publicIp)) ?? publicIps[i]
    const backendData = tryData(node.annotations.get(family.backendData))
    return publicIp === undefined ? [] : [{ prefix, publicIp, backendData }]
  })
  const backendType = node.annotations.get(names.backendType)?.toLowerCase() ?? ''
  return { node: node.name, backendType, subnets, since: node.createdMs }
}

/** The wanted annotations, exact to the byte: flannel finds its MAC in backend-data by splitting the text. */
export function wantedAnnotations(said: Publication, names: AnnotationNames): ReadonlyMap<string, string> {
  const wanted = new Map([
    [names.manager, 'true'],
    [names.backendType, said.backendType],
    [names.podCidrs, said.podCidrs.join(',')],
  ])
  said.publicIps.forEach((publicIp, i) => {
    const family = names.families[familyOf(publicIp)]
    wanted.set(family.publicIp, publicIp)
    wanted.set(family.backendData, goJson(backendDataJson(said.backendData[i]) ?? null))
  })
  return wanted
}

/** The wanted annotations that are missing or have another value. */
export function differences(
  node: NodeObject,
  wanted: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  return new Map([...wanted].filter(([name, value]) => node.annotations.get(name) !== value))
}

/** The lease made from the Node's podCIDRs and the publication. */
export function ownLease(node: NodeObject, prefixes: readonly Prefix[], said: Publication): Lease {
  const subnets = prefixes.map((prefix, i): Subnet => {
    const publicIp = said.publicIps[i]
    if (publicIp === undefined) throw new TypeError(`Cannot lease ${prefix}: no public IP was given for it`)
    return { prefix, publicIp, backendData: said.backendData[i] }
  })
  return { node: node.name, backendType: said.backendType, subnets, since: node.createdMs }
}

function tryIp(prefix: Prefix, text: string | undefined): Ip | undefined {
  try {
    return text === undefined ? undefined : parseIpOf(familyOf(prefix), text, '')
  } catch {
    return undefined
  }
}

function tryData(text: string | undefined): BackendData {
  try {
    return readData(text, '')
  } catch {
    return undefined
  }
}
