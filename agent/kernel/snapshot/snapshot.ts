import { allFamilies } from '../../../lease/net/ip.ts'
import { isSingleAddress, type Prefix } from '../../../lease/net/prefix.ts'
import { AF_BRIDGE, AF_INET, AF_INET6 } from '../../netlink/codec/family.ts'
import type { LinkMessage } from '../../netlink/codec/link.ts'
import type { RouteMessage } from '../../netlink/codec/route.ts'
import type { Requests } from '../../netlink/requests.ts'
import type { Entry, Link } from '../../state/entry.ts'
import type { Scope } from '../kernel.ts'
import { type Device, deviceName, readDevice } from './devices.ts'
import { dumpAddresses, dumpNeighbors, dumpRoutes, leadsTo } from './dumps.ts'
import { addressEntry, fdbEntry, isOurRoute, isPermanent, neighborEntry, routeEntry } from './entries.ts'

/** All our entries that exist now. The kernel filters, so other programs' entries cost next to nothing. */
export async function readEntries(requests: Requests, scope: Scope, signal: AbortSignal): Promise<Entry[]> {
  const devices = await findDevices(requests, scope, signal)
  const entries: Entry[] = devices.map(({ entry }) => entry)
  const own = devices.map(({ link }) => link)
  for (const link of own) await readEntriesOn(requests, link, entries, signal)
  const hostRoutes = new Set(
    entries
      .flatMap(one => (one.kind === 'address' ? [`${one.address}/${one.length}` as Prefix] : []))
      .filter(isSingleAddress),
  )
  const routes = await readOurRoutes(requests, own, scope, hostRoutes, signal)
  const names = new Map<number, string | undefined>(own.map(({ index, name }) => [index, name]))
  for (const { index } of routes)
    if (!names.has(index)) names.set(index, await deviceName(requests, index, signal))
  for (const route of routes) entries.push(routeEntry(route, names.get(route.index)))
  return entries
}

export async function readDevices(requests: Requests, scope: Scope, signal: AbortSignal): Promise<Link[]> {
  return (await findDevices(requests, scope, signal)).map(({ entry }) => entry)
}

async function findDevices(requests: Requests, scope: Scope, signal: AbortSignal): Promise<Device[]> {
  const found: Device[] = []
  for (const name of scope.devices) {
    const device = await readDevice(requests, name, signal)
    if (device !== undefined) found.push(device)
  }
  return found
}

async function readEntriesOn(
  requests: Requests,
  { name, index }: LinkMessage,
  entries: Entry[],
  signal: AbortSignal,
): Promise<void> {
  const add = (entry: Entry | undefined) => {
    if (entry !== undefined) entries.push(entry)
  }
  for (const address of await dumpAddresses(requests, signal, index)) add(addressEntry(address, name))
  for (const family of [AF_BRIDGE, AF_INET, AF_INET6])
    for (const neighbor of await dumpNeighbors(requests, family, index, signal))
      if (isPermanent(neighbor))
        add(family === AF_BRIDGE ? fdbEntry(neighbor, name) : neighborEntry(neighbor, name))
}

/** Routes on our devices, and those with our protocol on any other or on none. */
async function readOurRoutes(
  requests: Requests,
  own: readonly LinkMessage[],
  scope: Scope,
  hostRoutes: ReadonlySet<Prefix>,
  signal: AbortSignal,
): Promise<RouteMessage[]> {
  const found: RouteMessage[] = []
  for (const family of allFamilies) {
    for (const { index } of own) {
      const routes = await dumpRoutes(requests, family, { protocol: 0, index }, signal)
      for (const route of routes) if (isOurRoute(route, true, scope, hostRoutes)) found.push(route)
    }
    const filter = { protocol: scope.routeProtocol, index: 0 }
    for (const route of await dumpRoutes(requests, family, filter, signal)) {
      const listed = own.some(({ index }) => leadsTo(route, index))
      if (!listed && isOurRoute(route, false, scope)) found.push(route)
    }
  }
  return found
}
