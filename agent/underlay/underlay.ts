import { ExpectedError } from '../../lease/common/errors.ts'
import { type Family, familyOf, type Ip, parseIp, scopeOf } from '../../lease/net/ip.ts'
import { contains, type Prefix, prefixLength } from '../../lease/net/prefix.ts'
import type { Underlay } from '../backend/backend.ts'
import type { InterfaceAddress, InterfaceFacts, RouteFacts } from '../state/underlay_facts.ts'

/** Which interface an operator asks for, if any; what is asked first comes first. */
/** On a name or an address; `source` is as the operator wrote it. */
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

/** What peers are told to reach this node by; where undefined, the interface's own address. */
export type PublicIps = Readonly<Record<Family, Ip | undefined>>

export interface UnderlayWish extends InterfaceWish {
  readonly publicIps: PublicIps
}

/** What the kernel lists. */
export interface UnderlayFacts {
  readonly interfaces: readonly InterfaceFacts[]
  readonly routes: readonly RouteFacts[]
}

export interface UnderlayChoice extends Underlay {
  /** Why this interface and not another, for the log. */
  readonly reason: string
}

/** No interface fits. The message says what was tried, what there is, and the remedy. */
export class UnderlayError extends ExpectedError {
  override name = 'UnderlayError'
}

/** An interface that a rule points at; `address` where it points at one of its addresses. */
interface Candidate {
  readonly found: InterfaceFacts
  readonly address: Ip | undefined
  readonly reason: string
}

/** What one rule came to: an interface, or why there is none. */
type Try = Candidate | string

/**
 * Chooses the external interface: by public IP, then by default route; or, where anything is wished for, `--iface` in
 * order, `--iface-regex`, `--iface-can-reach`. The first that fits wins. Pure: the same facts give the same choice.
 * `families` in the network's order, which the results keep. Throws UnderlayError.
 */
export function chooseUnderlay(
  families: readonly Family[],
  facts: UnderlayFacts,
  wish: UnderlayWish,
): UnderlayChoice {
  const failures: string[] = []
  for (const attempt of tries(families, facts, wish)) {
    const choice =
      typeof attempt === 'string' ? attempt : choiceOf(attempt, families, facts.routes, wish.publicIps)
    if (typeof choice !== 'string') return choice
    failures.push(choice)
  }
  const there = facts.interfaces.filter(({ loopback }) => !loopback).map(printInterface)
  throw new UnderlayError(
    `Cannot choose an external interface: ${failures.join('; ')}. There are: ${there.join('; ') || 'none'}. ` +
      'Name one that has what is missing with --iface',
  )
}

function* tries(families: readonly Family[], facts: UnderlayFacts, wish: UnderlayWish): Iterable<Try> {
  const wished = wish.iface.length > 0 || wish.ifaceRegex.length > 0 || wish.ifaceCanReach !== undefined
  if (!wished) {
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

function byPublicIp(ip: Ip, { interfaces }: UnderlayFacts): Try {
  const found = interfaces.filter(isPossible).find(holds(ip))
  return found ? { found, address: ip, reason: `it has the public IP ${ip}` } : `no interface has ${ip}`
}

/** The best default route's interface; for two families, the first interface that has a default route for both. */
function* byDefaultRoute(families: readonly Family[], { interfaces, routes }: UnderlayFacts): Iterable<Try> {
  const perFamily = families.map(family =>
    routes
      .filter(({ dst }) => prefixLength(dst) === 0 && familyOf(dst) === family)
      .sort((a, b) => a.metric - b.metric)
      .map(({ dev }) => dev),
  )
  const names = new Set(perFamily[0]?.filter(name => perFamily.every(devices => devices.includes(name))))
  const found = interfaces.filter(at => isPossible(at) && names.has(at.name))
  found.sort((a, b) => [...names].indexOf(a.name) - [...names].indexOf(b.name))
  const what = `${families.length > 1 ? 'default routes' : 'the default route'} (${families.join(' and ')})`
  if (found.length === 0) yield `no interface has ${what}`
  for (const at of found) yield { found: at, address: undefined, reason: `it has ${what}` }
}

function byNameOrIp(text: string, { interfaces }: UnderlayFacts): Try {
  const ip = ipOrUndefined(text)
  const found = interfaces.find(ip === undefined ? ({ name }) => name === text : holds(ip))
  if (found === undefined) return `--iface ${text}: no such ${ip === undefined ? 'interface' : 'address'}`
  return { found, address: ip, reason: `--iface ${text}` }
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

/** The longest prefix that holds the address, then the smallest metric, as the kernel's own lookup goes. */
function byReach(ip: Ip, { interfaces, routes }: UnderlayFacts): Try {
  const possible = interfaces.filter(isPossible)
  const [best] = routes
    .filter(({ dst, dev }) => contains(dst, ip) && possible.some(({ name }) => name === dev))
    .sort((a, b) => prefixLength(b.dst) - prefixLength(a.dst) || a.metric - b.metric)
  const found = possible.find(({ name }) => name === best?.dev)
  if (best === undefined || found === undefined) return `--iface-can-reach ${ip}: no route to it`
  return { found, address: best.src, reason: `--iface-can-reach ${ip}` }
}

/**
 * The choice that an interface makes, or what it lacks.
 *
 * The VTEP's local address is the public IP where the interface has it. Where it has not, as behind NAT, it is the
 * interface's own: the kernel looks up the outer route with it as source and refuses one that is not local (EINVAL,
 * ip_route_output_key_hash_rcu), so that nothing would be sent.
 */
function choiceOf(
  { found, address: wished, reason }: Candidate,
  families: readonly Family[],
  routes: readonly RouteFacts[],
  publicIps: PublicIps,
): UnderlayChoice | string {
  if (found.underlayMtu <= 0) return `${found.name} (${reason}): its MTU is 0`
  const localIps: Ip[] = []
  for (const family of families) {
    const own = found.addresses.filter(({ address }) => familyOf(address) === family)
    const named = [publicIps[family], wished].find(ip => own.some(({ address }) => address === ip))
    const local = named ?? preferredAddress(own)
    if (local === undefined) return `${found.name} (${reason}): it has no ${family} address to use`
    localIps.push(local)
  }
  return {
    name: found.name,
    underlayMtu: found.underlayMtu,
    publicIps: localIps.map(local => publicIps[familyOf(local)] ?? local),
    localIps,
    onLink: onLinkPrefixes(found.name, families, routes),
    reason: found.up ? reason : `${reason}, though it is down`,
  }
}

/**
 * Permanent before dynamic, lasting before temporary; tentative only where there is no other. Never link-local: peers could
 * not tell on which link it is, and refuse it. flanneld falls back to it, for one when a link that went down took the others.
 */
function preferredAddress(addresses: readonly InterfaceAddress[]): Ip | undefined {
  const rank = (at: InterfaceAddress) => [at.tentative, at.temporary, !at.permanent]
  const value = (at: InterfaceAddress) => rank(at).reduce((sum, worse) => 2 * sum + Number(worse), 0)
  const usable = addresses.filter(({ address, deprecated }) => !deprecated && scopeOf(address) === 'global')
  return usable.toSorted((a, b) => value(a) - value(b))[0]?.address
}

/** Connected prefixes. Not a default route without a gateway: behind a point-to-point link peers are hops away. */
function onLinkPrefixes(
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

/** What an overlay or a container runtime makes is never an underlay unless it is named: a loop would be built. */
function isPossible({ name, loopback }: InterfaceFacts): boolean {
  return !loopback && !/^(flannel(-v6)?\.\d+|cni0|docker0|kube-ipvs0|nodelocaldns)$/.test(name)
}

function holds(ip: Ip): (at: InterfaceFacts) => boolean {
  return ({ addresses }) => addresses.some(({ address }) => address === ip)
}

function ipOrUndefined(text: string): Ip | undefined {
  try {
    return parseIp(text)
  } catch {
    return undefined
  }
}

/** `eth0 up 192.168.0.2/24 fd00::2/64`. */
function printInterface({ name, up, addresses }: InterfaceFacts): string {
  const list = addresses.map(({ address, length }) => `${address}/${length}`)
  return [name, up ? 'up' : 'down', ...(list.length > 0 ? list : ['without address'])].join(' ')
}
