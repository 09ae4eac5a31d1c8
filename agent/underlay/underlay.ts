import { ExpectedError } from '../../lease/common/errors.ts'
import { type Family, familyOf, type Ip, ipOrUndefined } from '../../lease/net/ip.ts'
import { type Prefix, prefixLength } from '../../lease/net/prefix.ts'
import type { Underlay } from '../backend/backend.ts'
import type { InterfaceFacts, RouteFacts, RouteLookup } from '../state/underlay_facts.ts'
import { defaultRoutes, localAddress, type UnderlayFacts } from './local_address.ts'

/** A pattern for names or addresses; `source` is the text that the operator wrote. */
export interface NamePattern {
  readonly source: string
  test(text: string): boolean
}

export interface InterfaceWish {
  /** IPs or names, in order. */
  readonly iface: readonly string[]
  /** Matched against all IPs first, then against all names. */
  readonly ifaceRegex: readonly NamePattern[]
  readonly ifaceCanReach: Ip | undefined
}

/** The addresses that peers use for this node; where undefined, the interface's own. */
export type PublicIps = Readonly<Record<Family, Ip | undefined>>

export interface UnderlayWish extends InterfaceWish {
  readonly publicIps: PublicIps
}

export interface UnderlayView extends UnderlayFacts {
  /** The kernel's route to `ifaceCanReach`; undefined where there is no route, or the flag is not given. */
  readonly reach?: RouteLookup | undefined
}

export interface UnderlayChoice extends Underlay {
  /** Why this interface was chosen, for the log. */
  readonly reason: string
}

/** No interface fits. The message says what was tried, which interfaces exist, and what to do. */
export class UnderlayError extends ExpectedError {
  override name = 'UnderlayError'
}

/** An interface that a rule points at; `address` where it points at one of its addresses. */
interface Candidate {
  readonly found: InterfaceFacts
  readonly address: Ip | undefined
  readonly reason: string
}

type Try = Candidate | string

/**
 * Chooses the external interface: by public IP, then by default route; or by `--iface` in order,
 * `--iface-regex`, `--iface-can-reach`. The first that fits wins. Results keep the order of `families`.
 * Throws UnderlayError.
 */
export function chooseUnderlay(
  families: readonly Family[],
  facts: UnderlayView,
  wish: UnderlayWish,
): UnderlayChoice {
  const failures: string[] = []
  for (const attempt of tries(families, facts, wish)) {
    const choice = typeof attempt === 'string' ? attempt : choiceOf(attempt, families, facts, wish.publicIps)
    if (typeof choice !== 'string') return choice
    failures.push(choice)
  }
  const there = facts.interfaces.filter(({ loopback }) => !loopback).map(printInterface)
  throw new UnderlayError(
    `Cannot choose an external interface: ${failures.join('; ')}. There are: ${there.join('; ') || 'none'}. ` +
      'Name one that has what is missing with --iface',
  )
}

function* tries(families: readonly Family[], facts: UnderlayView, wish: UnderlayWish): Iterable<Try> {
  if (!isWished(wish)) {
    for (const family of families) {
      const publicIp = wish.publicIps[family]
      if (publicIp !== undefined) yield byPublicIp(publicIp, facts)
    }
    yield* byDefaultRoute(families, facts)
  }
  for (const text of wish.iface) yield byNameOrIp(text, facts)
  for (const pattern of wish.ifaceRegex) yield* byPattern(pattern, facts)
  if (wish.ifaceCanReach !== undefined) yield byReach(wish.ifaceCanReach, facts)
}

export function isWished({ iface, ifaceRegex, ifaceCanReach }: InterfaceWish): boolean {
  return iface.length + ifaceRegex.length > 0 || ifaceCanReach !== undefined
}

function byPublicIp(ip: Ip, { interfaces }: UnderlayFacts): Try {
  const found = [...interfaces.filter(isPossible), ...interfaces.filter(({ loopback }) => loopback)].find(
    holds(ip),
  )
  return found ? { found, address: ip, reason: `it has the public IP ${ip}` } : `no interface has ${ip}`
}

/** The best default route's interface; for two families, the first with a default route for both. */
function* byDefaultRoute(families: readonly Family[], { interfaces, routes }: UnderlayFacts): Iterable<Try> {
  const perFamily = families.map(family => defaultRoutes(routes, family).map(({ dev }) => dev))
  const names = new Set(perFamily[0]?.filter(name => perFamily.every(devices => devices.includes(name))))
  const found = interfaces.filter(at => isPossible(at) && names.has(at.name))
  found.sort((a, b) => [...names].indexOf(a.name) - [...names].indexOf(b.name))
  const what = `${families.length > 1 ? 'default routes' : 'the default route'} (${families.join(' and ')})`
  if (found.length === 0) yield `no interface has ${what}`
  for (const at of found) yield { found: at, address: undefined, reason: `it has ${what}` }
}

/** The text is a device's name or alternative name, the label of an address (`eth0:1`), or an address. */
function byNameOrIp(text: string, { interfaces }: UnderlayFacts): Try {
  const ip = ipOrUndefined(text)
  const reason = `--iface ${text}`
  if (ip !== undefined) {
    const found = interfaces.filter(holds(ip)).sort((a, b) => Number(a.loopback) - Number(b.loopback))[0]
    return found ? { found, address: ip, reason } : `${reason}: no such address`
  }
  const found =
    interfaces.find(({ name }) => name === text) ??
    interfaces.find(({ altNames }) => altNames?.includes(text))
  if (found) return { found, address: undefined, reason }
  for (const at of interfaces) {
    const labelled = at.addresses.find(({ label }) => label === text)
    if (labelled) return { found: at, address: labelled.address, reason }
  }
  return `${reason}: no such interface`
}

function* byPattern(pattern: NamePattern, { interfaces }: UnderlayFacts): Iterable<Try> {
  const reason = `--iface-regex ${pattern.source}`
  const possible = interfaces.filter(isPossible)
  const byIp = possible.flatMap(found =>
    found.addresses
      .filter(({ address }) => pattern.test(address))
      .map(({ address }) => ({ found, address, reason })),
  )
  const byName = possible
    .filter(({ name }) => pattern.test(name))
    .map(found => ({ found, address: undefined, reason }))
  if (byIp.length + byName.length === 0) yield `${reason}: matches nothing`
  yield* byIp
  yield* byName
}

function byReach(ip: Ip, { interfaces, reach }: UnderlayView): Try {
  const reason = `--iface-can-reach ${ip}`
  if (reach === undefined) return `${reason}: no route to it`
  const found = interfaces.find(({ name }) => name === reach.dev)
  if (found === undefined) return `${reason}: no interface ${reach.dev}`
  if (found.loopback) return `${reason}: it is an address of this host`
  return { found, address: reach.src, reason }
}

/**
 * The choice from an interface, or the text of what it lacks. The VTEP's local address is the public IP only
 * where the interface has it, not behind NAT: the kernel would refuse to send (EINVAL,
 * ip_route_output_key_hash_rcu).
 */
function choiceOf(
  { found, address: wished, reason }: Candidate,
  families: readonly Family[],
  facts: UnderlayFacts,
  publicIps: PublicIps,
): UnderlayChoice | string {
  const carrier = found.loopback ? carrierOf(families, facts) : found
  if (carrier === undefined)
    return `${found.name} (${reason}): it carries no packets, and no interface has a default route`
  if (carrier.underlayMtu <= 0) return `${carrier.name} (${reason}): its MTU is 0`
  const local = [found, carrier, ...facts.interfaces.filter(({ loopback }) => loopback)]
  const localIps: Ip[] = []
  for (const family of families) {
    const named = [publicIps[family], wished].find(
      ip => ip !== undefined && familyOf(ip) === family && local.some(holds(ip)),
    )
    const ip =
      named ?? localAddress(family, carrier, found, facts) ?? localAddress(family, carrier, carrier, facts)
    if (ip === undefined) return `${found.name} (${reason}): it has no ${family} address to use`
    localIps.push(ip)
  }
  return {
    name: carrier.name,
    underlayMtu: carrier.underlayMtu,
    publicIps: localIps.map(local => publicIps[familyOf(local)] ?? local),
    localIps,
    onLink: onLinkPrefixes(carrier.name, families, facts.routes),
    reason: carrier.up ? reason : `${reason}, though it is down`,
  }
}

/** An address on lo is reached through the interface of the default route. */
function carrierOf(
  families: readonly Family[],
  { interfaces, routes }: UnderlayFacts,
): InterfaceFacts | undefined {
  const devices = families.flatMap(family => defaultRoutes(routes, family).map(({ dev }) => dev))
  return devices.flatMap(dev => interfaces.find(at => at.name === dev && isPossible(at)) ?? [])[0]
}

/** Not by a default route without a gateway: behind a point-to-point link peers are hops away. */
export function onLinkPrefixes(
  name: string,
  families: readonly Family[],
  routes: readonly RouteFacts[],
): readonly Prefix[] {
  const connected = routes.filter(
    ({ dst, dev, via }) =>
      dev === name && via === undefined && prefixLength(dst) > 0 && families.includes(familyOf(dst)),
  )
  return [...new Set(connected.map(({ dst }) => dst))]
}

/** Overlays and container runtimes are no underlay unless a flag names them: the tunnel would nest. */
export function isPossible({ name, loopback }: InterfaceFacts): boolean {
  return !loopback && !/^(flannel(-v6)?\.\d+|cni0|docker0|kube-ipvs0|nodelocaldns)$/.test(name)
}

export function holds(ip: Ip): (at: InterfaceFacts) => boolean {
  return ({ addresses }) => addresses.some(({ address }) => address === ip)
}

export function placeOf({ name, localIps }: UnderlayChoice): string {
  return `${name} with ${localIps.join(' and ')}`
}

/** `eth0 up 192.168.0.2/24 fd00::2/64`. */
function printInterface({ name, up, addresses }: InterfaceFacts): string {
  const list = addresses.map(({ address, length }) => `${address}/${length}`)
  return [name, up ? 'up' : 'down', ...(list.length > 0 ? list : ['without address'])].join(' ')
}
