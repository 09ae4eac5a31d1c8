import { ipToNumber } from '../../lease/net/ip.ts'
import { contains, type Prefix, prefixRange } from '../../lease/net/prefix.ts'
import { type FamilyNetwork, subnetCount, subnetSize } from '../../lease/network_config/network_config.ts'

/** How much of one family's network is leased, in subnets of the network's own length. */
export interface Utilisation extends FamilyNetwork {
  /** Number of subnets from SubnetMin to SubnetMax. Decimal text: it may exceed a JSON number. */
  readonly total: string
  readonly used: number
  /** Used subnets that are reservations, which never run out. */
  readonly reserved: number
  readonly free: string
}

interface Holder {
  readonly subnets: readonly string[]
  /** Empty for a reservation. */
  readonly backend: string
}

/** A piece of the address space, in the order of the addresses. */
export type Piece<Row> =
  | { readonly kind: 'lease'; readonly prefix: Prefix; readonly row: Row }
  | { readonly kind: 'free'; readonly subnets: bigint }

export function utilisation(family: FamilyNetwork, rows: readonly Holder[]): Utilisation {
  const taken = rows.filter(row => subnetsIn(family, row).length > 0)
  const total = subnetCount(family)
  const free = total - BigInt(taken.length)
  return {
    ...family,
    total: String(total),
    used: taken.length,
    reserved: taken.filter(({ backend }) => backend === '').length,
    free: String(free > 0n ? free : 0n),
  }
}

/** Leases and free runs, from SubnetMin to SubnetMax. Overlapping leases stand side by side. */
export function addressSpace<Row extends Holder>(
  family: FamilyNetwork,
  rows: readonly Row[],
): readonly Piece<Row>[] {
  const leases = rows
    .flatMap(row => subnetsIn(family, row).map(prefix => ({ row, prefix, ...prefixRange(prefix) })))
    .sort((a, b) => Number(a.first - b.first) || Number(a.last - b.last))
  const step = subnetSize(family)
  const pieces: Piece<Row>[] = []
  let at = ipToNumber(family.subnetMin)
  const leave = (until: bigint) => {
    if (until - at >= step) pieces.push({ kind: 'free', subnets: (until - at) / step })
  }
  for (const { row, prefix, first, last } of leases) {
    leave(first)
    pieces.push({ kind: 'lease', row, prefix })
    if (last + 1n > at) at = last + 1n
  }
  leave(ipToNumber(family.subnetMax) + step)
  return pieces
}

function subnetsIn({ network }: FamilyNetwork, row: Holder): Prefix[] {
  return row.subnets.filter((prefix): prefix is Prefix => contains(network, prefix as Prefix))
}
