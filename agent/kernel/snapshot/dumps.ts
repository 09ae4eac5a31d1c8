import type { Family } from '../../../lease/net/ip.ts'
import {
  type AddressMessage,
  RTM_NEWADDR,
  readAddress,
  writeAddressDump,
} from '../../netlink/codec/address.ts'
import { AF_BRIDGE, AF_INET, AF_INET6 } from '../../netlink/codec/family.ts'
import { type LinkMessage, RTM_NEWLINK, readLink, writeLinkDump } from '../../netlink/codec/link.ts'
import type { MessageWriter } from '../../netlink/codec/message.ts'
import {
  type NeighborMessage,
  RTM_NEWNEIGH,
  readNeighbor,
  writeNeighborDump,
} from '../../netlink/codec/neighbor.ts'
import {
  type RouteMessage,
  RT_TABLE_MAIN,
  RTM_NEWROUTE,
  readRoute,
  writeRouteDump,
} from '../../netlink/codec/route.ts'
import { NetlinkError } from '../../netlink/errno.ts'
import type { Requests } from '../../netlink/requests.ts'

/** The kernel filters, and these do too: before Linux 4.20 (NETLINK_GET_STRICT_CHK) it returns everything. */

export function dumpLinks(requests: Requests, signal: AbortSignal): Promise<LinkMessage[]> {
  return requests.dump('Cannot list devices', writeLinkDump, newLink, signal)
}

/** Addresses of one device, or with index 0 of all; IPv4 first. */
export async function dumpAddresses(
  requests: Requests,
  signal: AbortSignal,
  index = 0,
): Promise<AddressMessage[]> {
  const ofFamily = async (family: number) => {
    const write = (writer: MessageWriter) => writeAddressDump(writer, family, index)
    const found = await unlessGone(requests.dump('Cannot list addresses', write, newAddress, signal))
    return found.filter(address => address.family === family && (index === 0 || address.index === index))
  }
  return (await Promise.all([ofFamily(AF_INET), ofFamily(AF_INET6)])).flat()
}

/** Neighbors of one device; with AF_BRIDGE its FDB entries. */
export async function dumpNeighbors(
  requests: Requests,
  family: number,
  index: number,
  signal: AbortSignal,
): Promise<NeighborMessage[]> {
  const act = `Cannot list ${family === AF_BRIDGE ? 'FDB entries' : 'neighbors'}`
  const write = (writer: MessageWriter) => writeNeighborDump(writer, family, index)
  const found = await unlessGone(requests.dump(act, write, newNeighbor, signal))
  return found.filter(neighbor => neighbor.family === family && neighbor.index === index)
}

/** Routes of the main table. 0 stands for any protocol and any device. */
export async function dumpRoutes(
  requests: Requests,
  family: Family,
  filter: { readonly protocol: number; readonly index: number },
  signal: AbortSignal,
): Promise<RouteMessage[]> {
  const write = (writer: MessageWriter) => writeRouteDump(writer, family, filter)
  const routes = await unlessGone(requests.dump(`Cannot list ${family} routes`, write, newRoute, signal))
  return routes.filter(
    route =>
      route.family === family &&
      route.table === RT_TABLE_MAIN &&
      !route.cloned &&
      (filter.protocol === 0 || route.protocol === filter.protocol) &&
      (filter.index === 0 || leadsTo(route, filter.index)),
  )
}

export function leadsTo(route: RouteMessage, index: number): boolean {
  return route.index === index || (route.hops?.includes(index) ?? false)
}

export const newLink = ofType(RTM_NEWLINK, readLink)
export const newRoute = ofType(RTM_NEWROUTE, readRoute)
const newAddress = ofType(RTM_NEWADDR, readAddress)
const newNeighbor = ofType(RTM_NEWNEIGH, readNeighbor)

function ofType<T>(wanted: number, read: (buffer: Buffer, start: number, end: number) => T) {
  return (buffer: Buffer, start: number, end: number, type: number) =>
    type === wanted ? read(buffer, start, end) : undefined
}

/** The device or table disappeared, or the kernel lacks the family: there is nothing to list. */
const GONE: ReadonlySet<string> = new Set(['ENODEV', 'ENOENT', 'ENOTSUP', 'EAFNOSUPPORT'])

async function unlessGone<T>(dump: Promise<T[]>): Promise<T[]> {
  try {
    return await dump
  } catch (error) {
    if (error instanceof NetlinkError && GONE.has(error.code)) return []
    throw error
  }
}
