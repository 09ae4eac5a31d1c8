import { familyOf, type Ip } from '../../lease/net/ip.ts'
import { isSingleAddress } from '../../lease/net/prefix.ts'
import type { InterfaceFacts, RouteFacts } from '../state/underlay_facts.ts'
import { prefixIn, type UnderlayFacts } from './local_address.ts'
import {
  holds,
  isPossible,
  onLinkPrefixes,
  placeOf,
  type UnderlayChoice,
  type UnderlayError,
} from './underlay.ts'

/** What the current facts mean for the choice that this node uses. */
export type Verdict =
  /** The choice stays, with its current facts. `better`: what the agent would choose at a start. */
  | { readonly kind: 'stands'; readonly choice: UnderlayChoice; readonly better: UnderlayChoice | undefined }
  /** Use another choice from now on. `sure`: the host was renumbered, or the former choice is back. */
  | { readonly kind: 'moves'; readonly choice: UnderlayChoice; readonly sure: boolean }
  /** The choice is gone. Use `next`, if any, after `forMs` unless the choice comes back. */
  | { readonly kind: 'waits'; readonly next: UnderlayChoice | undefined; readonly forMs: number }

interface Held {
  readonly choice: UnderlayChoice
  /** The interface's index: a rename does not change it. */
  readonly index: number | undefined
}

/**
 * Keeps a choice until it is itself gone. While the interface and its addresses exist, a better default
 * route, another address or another metric changes nothing. When they are gone:
 *
 * - followed at once: the same addresses on another interface, whatever the flags ask for (a bridge was built
 *   over eth0), and a new address with a real prefix on the same interface (renumbering);
 * - followed only after `patienceMs`, which is longer than a flap, and left again as soon as the former
 *   choice is back: a /32, an address that the host already had, or another interface.
 *
 * Times are of a monotonic clock, in ms.
 */
export class HeldChoice {
  readonly #patienceMs: number
  #held: Held
  #former: Held | undefined
  /** All addresses that the host had when the choice was made; any other address is new. */
  #known: ReadonlySet<Ip>
  #goneSinceMs: number | undefined

  constructor(choice: UnderlayChoice, facts: UnderlayFacts, patienceMs: number) {
    this.#patienceMs = patienceMs
    this.#held = held(choice, facts)
    this.#known = addressesOf(facts)
  }

  get choice(): UnderlayChoice {
    return this.#held.choice
  }

  review(facts: UnderlayFacts, fresh: UnderlayChoice | UnderlayError, nowMs: number): Verdict {
    const next = nextOf(this.#held.choice, fresh, facts)
    const former = this.#former && refreshed(this.#former, facts)
    if (former !== undefined) return this.#move(former, facts, true)
    const choice = refreshed(this.#held, facts)
    if (choice !== undefined) {
      this.#goneSinceMs = undefined
      this.#held = held(choice, facts)
      const isSame = fresh instanceof Error || placeOf(fresh) === placeOf(choice)
      return { kind: 'stands', choice, better: isSame ? undefined : fresh }
    }
    this.#goneSinceMs ??= nowMs
    const leftMs = this.#goneSinceMs + this.#patienceMs - nowMs
    if (next === undefined) return { kind: 'waits', next, forMs: Number.POSITIVE_INFINITY }
    if (this.#isSure(next, facts)) return this.#move(next, facts, true)
    return leftMs > 0 ? { kind: 'waits', next, forMs: leftMs } : this.#move(next, facts, false)
  }

  #move(choice: UnderlayChoice, facts: UnderlayFacts, sure: boolean): Verdict {
    // After several moves that were not sure, return to the choice before the first of them.
    this.#former = sure ? undefined : (this.#former ?? this.#held)
    this.#held = held(choice, facts)
    this.#known = addressesOf(facts)
    this.#goneSinceMs = undefined
    return { kind: 'moves', choice, sure }
  }

  #isSure(next: UnderlayChoice, { interfaces }: UnderlayFacts): boolean {
    const { choice } = this.#held
    const addresses = interfaces.flatMap(it => it.addresses)
    const isNew = (ip: Ip) =>
      !this.#known.has(ip) && addresses.some(at => at.address === ip && !isSingleAddress(prefixIn(at)))
    const changed = next.localIps.filter((ip, i) => ip !== choice.localIps[i])
    return changed.length === 0 || (next.name === choice.name && changed.every(isNew))
  }
}

/** The replacement for a choice that is gone: its own addresses, wherever they are now, before any other. */
function nextOf(
  choice: UnderlayChoice,
  fresh: UnderlayChoice | UnderlayError,
  { interfaces, routes }: UnderlayFacts,
): UnderlayChoice | undefined {
  const isFresh = !(fresh instanceof Error)
  if (isFresh && fresh.localIps.join() === choice.localIps.join()) return fresh
  const found = interfaces.find(
    at => isPossible(at) && at.up && at.underlayMtu > 0 && choice.localIps.every(ip => holds(ip)(at)),
  )
  if (found !== undefined) return { ...on(found, choice, routes), reason: 'it has the address now' }
  return isFresh ? fresh : undefined
}

/** The choice with the facts of that interface. */
function on(
  { name, underlayMtu }: InterfaceFacts,
  choice: UnderlayChoice,
  routes: readonly RouteFacts[],
): UnderlayChoice {
  const onLink = onLinkPrefixes(name, choice.localIps.map(familyOf), routes)
  return { ...choice, name, underlayMtu, onLink }
}

/** The choice with its current facts; undefined where its interface or one of its addresses is gone. */
function refreshed(
  { choice, index }: Held,
  { interfaces, routes }: UnderlayFacts,
): UnderlayChoice | undefined {
  const found =
    interfaces.find(at => at.index === index) ?? interfaces.find(({ name }) => name === choice.name)
  if (found === undefined) return undefined
  const places = [found, ...interfaces.filter(({ loopback }) => loopback)]
  return choice.localIps.every(ip => places.some(holds(ip))) ? on(found, choice, routes) : undefined
}

function held(choice: UnderlayChoice, { interfaces }: UnderlayFacts): Held {
  return { choice, index: interfaces.find(({ name }) => name === choice.name)?.index }
}

function addressesOf({ interfaces }: UnderlayFacts): ReadonlySet<Ip> {
  return new Set(interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address)))
}
