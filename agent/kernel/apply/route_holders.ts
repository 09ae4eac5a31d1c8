import { ExpectedError } from '../../../lease/common/errors.ts'
import { allFamilies, familyOf } from '../../../lease/net/ip.ts'
import type { LinkMessage } from '../../netlink/codec/link.ts'
import type { RouteMessage } from '../../netlink/codec/route.ts'
import type { NetlinkRequests } from '../../netlink/requests.ts'
import type { Route } from '../../state/entry.ts'
import { type Operation, printOperation } from '../../state/operation.ts'
import { KERNEL_PROTOCOLS, mayReplace } from '../../state/ownership.ts'
import { printEntry } from '../../state/print.ts'
import { findLink } from '../snapshot/devices.ts'
import { dumpRoutes, leadsTo } from '../snapshot/dumps.ts'
import { routeEntry } from '../snapshot/entries.ts'

/** A route of the kernel or of another program has the destination and metric of one of our routes. */
export class RouteHeldError extends ExpectedError {
  override name = 'RouteHeldError'
}

/** The route in the place of one that the kernel refused to add with EEXIST: ours, or another's. */
export type Holder = 'ours' | RouteHeldError

interface Wanted {
  readonly operation: Operation
  readonly entry: Route
  readonly index: number
}

/** Reads the main table once. A route that was removed meanwhile is missing from the answer. */
export async function findHolders(
  requests: NetlinkRequests,
  held: readonly Wanted[],
  signal: AbortSignal,
): Promise<ReadonlyMap<Operation, Holder>> {
  const holders = new Map<Operation, Holder>()
  for (const family of allFamilies) {
    const some = held.filter(({ entry }) => familyOf(entry.dst) === family)
    if (some.length === 0) continue
    const routes = new Map<string, RouteMessage>()
    // Of several routes with one destination and metric the kernel uses the first.
    for (const route of await dumpRoutes(requests, family, { protocol: 0, index: 0 }, signal))
      if (route.tos === 0 && !routes.has(placeOf(route))) routes.set(placeOf(route), route)
    for (const { operation, entry, index } of some) {
      const route = routes.get(placeOf(entry))
      if (route !== undefined)
        holders.set(operation, await judge(requests, route, operation, entry, index, signal))
    }
  }
  return holders
}

function placeOf({ dst, metric }: { readonly dst: string; readonly metric: number }): string {
  return `${dst} ${metric}`
}

async function judge(
  requests: NetlinkRequests,
  route: RouteMessage,
  operation: Operation,
  wanted: Route,
  index: number,
  signal: AbortSignal,
): Promise<Holder> {
  const { protocol, via } = route
  const isOnSameDevice = index !== 0 && leadsTo(route, index)
  if (mayReplace({ protocol, via, isOnSameDevice }, wanted)) return 'ours'
  const link = route.index === 0 ? undefined : await findLink(requests, route.index, signal)
  const text = printEntry(routeEntry(route, link?.name))
  return new RouteHeldError(
    `Cannot ${printOperation(operation)}: ${describeHolder(route, link)} ('${text}') (EEXIST)`,
  )
}

function describeHolder({ protocol }: RouteMessage, link: LinkMessage | undefined): string {
  const device = link === undefined ? 'no device' : `${link.kind === '' ? 'device' : link.kind} ${link.name}`
  return KERNEL_PROTOCOLS.has(protocol)
    ? `${device} has an address in this subnet, and the kernel's own route for it stands there`
    : `another program's route (protocol ${protocol}) over ${device} stands there`
}
