import { familyOf, ipFromNumber, ipToNumber } from './net/ip.ts'
import {
  contains,
  networkAddress,
  overlaps,
  type Prefix,
  prefixLength,
  prefixOf,
  prefixRange,
} from './net/prefix.ts'
import {
  type FamilyNetwork,
  type NetworkConfig,
  networkFor,
  subnetCount,
  subnetSize,
} from './network_config/network_config.ts'
import { LeaseRefusedError } from './store.ts'

/** Draws from this many of the lowest free subnets, as flannel: nodes that start at once seldom collide. */
const CANDIDATES = 100

/**
 * One subnet for each family, in the network's order: the previous one where it is free and fits, else one of
 * the lowest free, drawn uniformly by `random`, in [0, 1). Throws LeaseRefusedError where none is free.
 */
export function chooseSubnets(
  network: NetworkConfig,
  taken: Iterable<Prefix>,
  previous: readonly Prefix[],
  random: () => number,
): readonly Prefix[] {
  const all = [...taken]
  return network.families.map(family => {
    const others = all.filter(prefix => familyOf(prefix) === family.family)
    const again = previous.find(
      prefix => fitsFamily(family, prefix) && !others.some(other => overlaps(other, prefix)),
    )
    if (again !== undefined) return again
    const free = lowestFree(family, others)
    const chosen = free[Math.floor(random() * free.length)]
    if (chosen === undefined) throw outOfSubnets(family, others)
    return chosen
  })
}

/** Whether these are the network's subnets: one for each family, in the network's order. */
export function fits(network: NetworkConfig, prefixes: readonly Prefix[]): boolean {
  return (
    prefixes.length === network.families.length &&
    network.families.every((family, i) => {
      const prefix = prefixes[i]
      return prefix !== undefined && fitsFamily(family, prefix)
    })
  )
}

/** Whether some SubnetLen could lease this prefix: it is at most a quarter of the network. */
export function couldBeLeased(network: NetworkConfig, prefix: Prefix): boolean {
  const family = networkFor(network, prefix)
  return (
    family !== undefined &&
    contains(family.network, prefix) &&
    prefixLength(prefix) >= prefixLength(family.network) + 2
  )
}

function fitsFamily(family: FamilyNetwork, prefix: Prefix): boolean {
  if (familyOf(prefix) !== family.family || prefixLength(prefix) !== family.subnetLength) return false
  const first = ipToNumber(networkAddress(prefix))
  return (
    contains(family.network, prefix) &&
    first >= ipToNumber(family.subnetMin) &&
    first <= ipToNumber(family.subnetMax)
  )
}

/** Counts up from subnetMin, jumping over taken subnets: n log n in their number, not the network's size. */
function lowestFree(network: FamilyNetwork, taken: Prefix[]): Prefix[] {
  const { family, subnetLength, subnetMin, subnetMax } = network
  const size = subnetSize(network)
  const ranges = taken.map(prefixRange).sort((a, b) => (a.first < b.first ? -1 : 1))
  const max = ipToNumber(subnetMax)
  const free: Prefix[] = []
  let at = ipToNumber(subnetMin)
  let next = 0
  while (at <= max && free.length < CANDIDATES) {
    const range = ranges[next]
    if (range === undefined || range.first >= at + size) {
      free.push(prefixOf(ipFromNumber(at, family), subnetLength))
      at += size
    } else {
      next++
      if (range.last >= at) at = (range.last / size + 1n) * size
    }
  }
  return free
}

function outOfSubnets(family: FamilyNetwork, taken: readonly Prefix[]): LeaseRefusedError {
  const { network, subnetLength, subnetMin, subnetMax } = family
  const inside = taken.filter(prefix => overlaps(network, prefix)).length
  return new LeaseRefusedError(
    `out of subnets: ${network} has ${subnetCount(family)} of length /${subnetLength} from ${subnetMin} to ${subnetMax}, and ${inside} ` +
      'leases leave none of them free; remove the leases of nodes that are gone, or widen the network config',
  )
}
