import { familyOf } from '../../../lease/net/ip.ts'
import { isSingleAddress, networkAddress, prefixLength } from '../../../lease/net/prefix.ts'
import { type AddressMessage, RTM_DELADDR, RTM_NEWADDR, readAddress } from '../../netlink/codec/address.ts'
import { AF_BRIDGE, AF_UNSPEC } from '../../netlink/codec/family.ts'
import { type LinkMessage, RTM_DELLINK, RTM_NEWLINK, readLink } from '../../netlink/codec/link.ts'
import { Messages } from '../../netlink/codec/message.ts'
import { neighborIndex, RTM_DELNEIGH, RTM_NEWNEIGH, readNeighbor } from '../../netlink/codec/neighbor.ts'
import { isOfAllDevices, RTM_DELRULE, RTM_NEWNETCONF, RTM_NEWRULE } from '../../netlink/codec/netconf.ts'
import {
  type RouteMessage,
  RT_TABLE_MAIN,
  RTM_DELROUTE,
  RTM_NEWROUTE,
  RTN_UNICAST,
  RTPROT_KERNEL,
  readRoute,
} from '../../netlink/codec/route.ts'
import type { Entry } from '../../state/entry.ts'
import { KERNEL_PROTOCOLS } from '../../state/ownership.ts'
import type { Scope } from '../kernel.ts'
import {
  addressEntry,
  couldBeOurDestination,
  fdbEntry,
  isOurRoute,
  isPermanent,
  neighborEntry,
  routeEntry,
} from '../snapshot/entries.ts'
import type { ChangeSlot } from './change_slot.ts'

type Handler = (buffer: Buffer, start: number, end: number) => void

/**
 * Turns notifications into changes for the reconcile loop. The kernel drops IPv4 routes without one when a
 * device is set down or loses its last address (fib_sync_down_dev()): reported as `hasDropped`.
 */
export class Notifications {
  readonly #scope: Scope
  readonly #slot: ChangeSlot
  readonly #links = new Map<number, LinkMessage>()
  /** Indexes of devices that are not ours and carry our routes. */
  readonly #carriers = new Set<number>()
  /** Addresses, by index of their device. Another's device with an address may be the underlay. */
  readonly #addresses = new Map<number, Set<string>>()
  readonly #handlers: ReadonlyMap<number, Handler>

  constructor(scope: Scope, slot: ChangeSlot) {
    this.#scope = scope
    this.#slot = slot
    this.#handlers = new Map<number, Handler>([
      [RTM_NEWLINK, (buffer, start, end) => this.#newLink(readLink(buffer, start, end))],
      [RTM_DELLINK, (buffer, start, end) => this.#delLink(readLink(buffer, start, end))],
      [RTM_NEWADDR, (buffer, start, end) => this.#address(buffer, start, end, true)],
      [RTM_DELADDR, (buffer, start, end) => this.#address(buffer, start, end, false)],
      [RTM_NEWNEIGH, (buffer, start, end) => this.#neighbor(buffer, start, end, true)],
      [RTM_DELNEIGH, (buffer, start, end) => this.#neighbor(buffer, start, end, false)],
      [RTM_NEWROUTE, (buffer, start, end) => this.#route(buffer, start, end, true)],
      [RTM_DELROUTE, (buffer, start, end) => this.#route(buffer, start, end, false)],
      // For both families: a VPN's policy rule may divert pod traffic; `net.ipv4.ip_forward=0` stops it.
      [RTM_NEWRULE, () => slot.underlay()],
      [RTM_DELRULE, () => slot.underlay()],
      [RTM_NEWNETCONF, (buffer, start, end) => isOfAllDevices(buffer, start, end) && slot.underlay()],
    ])
  }

  receive(datagram: Buffer): void {
    const messages = new Messages(datagram)
    while (messages.next()) this.#handlers.get(messages.type)?.(datagram, messages.start, messages.end)
  }

  forget(): void {
    this.#links.clear()
    this.#carriers.clear()
    this.#addresses.clear()
  }

  link(name: string): LinkMessage | undefined {
    for (const link of this.#links.values()) if (link.name === name) return link
    return undefined
  }

  /** Takes the present state, which notifications are compared with, as do the next two methods. */
  learnLink(link: LinkMessage): void {
    this.#links.set(link.index, link)
  }

  learnAddress(message: AddressMessage): void {
    const entry = addressEntry(message, '')
    if (entry === undefined) return
    this.#knownAddresses(message.index).add(`${entry.address}/${entry.length}`)
  }

  learnRoute(route: RouteMessage): void {
    const onOurs = this.#ourDevice(route.index) !== undefined
    if (!onOurs && isOurRoute(route, false, this.#scope)) this.#noteCarrier(route)
  }

  #newLink(link: LinkMessage): void {
    // AF_BRIDGE is about the bridge port only, and nothing here depends on that.
    if (link.family !== AF_UNSPEC) return
    const was = this.#links.get(link.index)
    this.#links.set(link.index, link)
    const name = this.#ourName(link) ?? this.#ourName(was)
    const difference = was === undefined ? 'appeared' : differenceOf(was, link)
    if (difference === undefined) return
    // Setting a device down removes its routes. A rename removes the device under its old name.
    const hasDropped = was !== undefined && (was.name !== link.name || (was.up && !link.up))
    if (name !== undefined) this.#slot.device(name, difference, hasDropped)
    else if (this.#carriers.has(link.index)) {
      this.#slot.device(link.name, difference, hasDropped)
      this.#slot.underlay()
    } else if (this.#addresses.has(link.index)) this.#slot.underlay()
  }

  #delLink(link: LinkMessage): void {
    if (link.family !== AF_UNSPEC) return
    const name = this.#ourName(link) ?? this.#ourName(this.#links.get(link.index))
    this.#links.delete(link.index)
    const isCarrier = this.#carriers.delete(link.index)
    if (name !== undefined || isCarrier) this.#slot.device(name ?? link.name, 'was deleted', true)
    if (this.#addresses.delete(link.index) && name === undefined) this.#slot.underlay()
  }

  #address(buffer: Buffer, start: number, end: number, isThere: boolean): void {
    const message = readAddress(buffer, start, end)
    const dev = this.#ourDevice(message.index)
    const entry = addressEntry(message, dev ?? '')
    if (entry === undefined) return
    const text = `${entry.address}/${entry.length}`
    const known = this.#knownAddresses(message.index)
    if (dev !== undefined) {
      this.#announce(entry, isThere)
    } else if (isThere !== known.has(text)) {
      // The kernel repeats an address each time a router prolongs its lifetime.
      this.#slot.underlay()
    }
    if (isThere) known.add(text)
    else if (known.delete(text)) this.#lostAddress(message.index, text)
  }

  /** With the last IPv4 address all IPv4 routes go (fib_disable_ip()), with others those that name it. */
  #lostAddress(index: number, text: string): void {
    const name = this.#links.get(index)?.name
    const isOurs = this.#ourDevice(index) !== undefined
    if (name === undefined || !(isOurs || this.#carriers.has(index))) return
    const isLast = ![...this.#knownAddresses(index)].some(other => familyOf(other) === 'ipv4')
    if (!isOurs || (isLast && familyOf(text) === 'ipv4'))
      this.#slot.device(name, `lost its address ${text}`, true)
  }

  #knownAddresses(index: number): Set<string> {
    const known = this.#addresses.get(index) ?? new Set<string>()
    this.#addresses.set(index, known)
    return known
  }

  #neighbor(buffer: Buffer, start: number, end: number, isThere: boolean): void {
    const dev = this.#ourDevice(neighborIndex(buffer, start, end))
    if (dev === undefined) return
    const message = readNeighbor(buffer, start, end)
    const entry = message.family === AF_BRIDGE ? fdbEntry(message, dev) : neighborEntry(message, dev)
    if (entry === undefined) return
    this.#announce(entry, isThere && isPermanent(message))
  }

  #route(buffer: Buffer, start: number, end: number, isThere: boolean): void {
    const route = readRoute(buffer, start, end)
    if (route === undefined || route.table !== RT_TABLE_MAIN || route.cloned) return
    const dev = this.#ourDevice(route.index)
    if (!isOurRoute(route, dev !== undefined, this.#scope)) {
      if (dev !== undefined && !isThere) this.#lostKernelRoute(route, dev)
      // Ignore routes to single addresses: container runtimes add one for each pod. Ignore the kernel's own:
      // they follow an address, which is announced itself.
      const byProgram = route.protocol !== RTPROT_KERNEL && !isSingleAddress(route.dst)
      const leads = route.via !== undefined || route.dst.endsWith('/0') || byProgram
      if (dev === undefined && leads) this.#slot.underlay()
      // Another program's route may have replaced ours, which the kernel does not announce (NLM_F_REPLACE),
      // or may have made room for ours.
      if (couldBeOurDestination(route) && (!isThere || route.protocol !== RTPROT_KERNEL))
        this.#slot.gone(routeEntry(route, undefined))
      return
    }
    if (dev === undefined) this.#noteCarrier(route)
    const entry = routeEntry(route, this.#links.get(route.index)?.name)
    // A router advertisement may have made a route with the same key on another of our devices.
    if (dev !== undefined && KERNEL_PROTOCOLS.has(route.protocol))
      this.#slot.everything(`kernel route changed on ${dev}`)
    else this.#announce(entry, isThere)
  }

  #announce(entry: Entry, isThere: boolean): void {
    if (isThere) this.#slot.present(entry)
    else this.#slot.gone(entry)
  }

  /** The kernel restores its route of an IPv6 host address only when the address is set again. */
  #lostKernelRoute({ protocol, dst }: RouteMessage, dev: string): void {
    if (protocol === RTPROT_KERNEL && familyOf(dst) === 'ipv6' && prefixLength(dst) === 128)
      this.#slot.gone({ kind: 'address', dev, address: networkAddress(dst), length: 128 })
  }

  /** Not for an IPv6 blackhole route: the kernel reports it on `lo`, which means nothing. */
  #noteCarrier(route: RouteMessage): void {
    if (route.index !== 0 && route.type === RTN_UNICAST) this.#carriers.add(route.index)
  }

  #ourDevice(index: number): string | undefined {
    return this.#ourName(this.#links.get(index))
  }

  #ourName(link: LinkMessage | undefined): string | undefined {
    return link !== undefined && this.#scope.devices.includes(link.name) ? link.name : undefined
  }
}

/** How two states differ, if it matters: the kernel also reports each change of carrier or queue. */
function differenceOf(was: LinkMessage, is: LinkMessage): string | undefined {
  if (was.name !== is.name) return `was renamed from ${was.name} to ${is.name}`
  if (was.up !== is.up) return is.up ? 'was set up' : 'was set down'
  if (was.mac !== is.mac) return `changed its MAC from ${was.mac} to ${is.mac}`
  if (was.mtu !== is.mtu) return `changed its MTU from ${was.mtu} to ${is.mtu}`
  if (was.master !== is.master) return is.master === 0 ? 'left its master' : 'was given a master'
  if (was.protodown !== is.protodown) return `was set protodown ${is.protodown ? 'on' : 'off'}`
  if (was.kind !== is.kind || !sameVxlan(was, is)) return 'changed its kind'
  return undefined
}

function sameVxlan({ vxlan: a }: LinkMessage, { vxlan: b }: LinkMessage): boolean {
  if (a === undefined || b === undefined) return a === b
  const words = (['vni', 'port', 'local', 'underlay', 'learning', 'gbp', 'extra'] as const).filter(
    key => a[key] !== b[key],
  )
  return words.length === 0
}
