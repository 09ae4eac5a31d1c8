import { isDeepStrictEqual } from 'node:util'
import type { HostNetworks } from '../../lease/admission/host_networks.ts'
import { publicIpTrouble } from '../../lease/admission/public_ip.ts'
import { ExpectedError, messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { Scope, UnderlaySource } from '../kernel/kernel.ts'
import { deviceSubnets } from './device_subnets.ts'
import { FirstReports } from './first_reports.ts'
import { HeldChoice, type Verdict } from './held_choice.ts'
import { hostNetworks } from './host_networks.ts'
import type { UnderlayFacts } from './local_address.ts'
import {
  chooseUnderlay,
  isWished,
  placeOf,
  type UnderlayChoice,
  UnderlayError,
  type UnderlayView,
  type UnderlayWish,
} from './underlay.ts'
import { readUnderlay, whenChosen } from './when_chosen.ts'

export interface UnderlayWatchOptions {
  readonly kernel: UnderlaySource
  readonly scope: Scope
  readonly network: NetworkConfig
  readonly wish: UnderlayWish
  readonly endpoints: readonly Ip[]
  /** How long to wait for a lost choice to come back before using another interface or a doubtful address. */
  readonly patienceMs: number
  readonly log: Log
  /** Called with the reason while no interface can be chosen at start. */
  readonly onTrouble?: (trouble: string) => void
  /** Monotonic, in ms. */
  readonly now?: () => number
}

/** A public IP that peers would refuse. The message names the address and the rule. */
export class PublicIpError extends ExpectedError {
  override name = 'PublicIpError'
}

/** The external interface: chosen once, then kept while interfaces, addresses and routes change. */
export class UnderlayWatch {
  readonly #options: UnderlayWatchOptions
  readonly #families
  readonly #now: () => number
  readonly #reports = new FirstReports()
  #held: HeldChoice | undefined
  /** As last read from the kernel. */
  facts: UnderlayFacts = { interfaces: [], routes: [] }
  #againAtMs = Number.POSITIVE_INFINITY
  /** Why the choice cannot be used now, although this node keeps it; undefined while it can. */
  trouble: string | undefined

  constructor(options: UnderlayWatchOptions) {
    this.#options = options
    this.#families = options.network.families.map(({ family }) => family)
    this.#now = options.now ?? (() => performance.now())
  }

  /** The next review is due after this time, even where nothing has changed. */
  get againInMs(): number {
    return Math.max(0, this.#againAtMs - this.#now())
  }

  /** Subnets derived from the addresses of our own devices, as last read from the kernel. */
  get deviceSubnets(): readonly Prefix[] {
    const { scope, network } = this.#options
    return deviceSubnets(this.facts.interfaces, scope.devices, network)
  }

  /** The host's own networks, as last read from the kernel. `ownSubnets`: the subnets of this node's pods. */
  hostNetworks(ownSubnets: readonly Prefix[]): HostNetworks {
    return this.#hostNetworks(this.#held?.choice.name ?? '', ownSubnets)
  }

  /** Waits for an interface. Rejects with PublicIpError where peers would refuse the public IP. */
  async choose(signal: AbortSignal): Promise<UnderlayChoice> {
    const { kernel, scope, wish, patienceMs, log, onTrouble = () => {} } = this.#options
    const chooseBy = (facts: UnderlayView) => {
      this.facts = facts
      return chooseUnderlay(this.#families, facts, wish)
    }
    const choice = await whenChosen({ kernel, scope, wish, log, onTrouble }, chooseBy, signal)
    this.#checkPublicIps(choice)
    this.#held = new HeldChoice(choice, this.facts, patienceMs)
    this.trouble = undefined
    this.#logChoice(choice)
    return choice
  }

  /** Reads the kernel again. Returns the new choice, if it has changed. Call `choose` first. */
  async review(signal: AbortSignal): Promise<UnderlayChoice | undefined> {
    const held = this.#held
    if (held === undefined) throw new Error('review() without choose()')
    const { kernel, scope, wish } = this.#options
    const view = await readUnderlay(kernel, scope, wish, signal)
    this.facts = view
    const before = held.choice
    const fresh = this.#fresh(() => chooseUnderlay(this.#families, view, wish))
    const verdict = held.review(view, fresh, this.#now())
    this.#againAtMs = verdict.kind === 'waits' ? this.#now() + verdict.forMs : Number.POSITIVE_INFINITY
    this.#logVerdict(verdict, before, fresh)
    return isDeepStrictEqual(held.choice, before) ? undefined : held.choice
  }

  #fresh(choose: () => UnderlayChoice): UnderlayChoice | UnderlayError {
    try {
      const choice = choose()
      this.#checkPublicIps(choice)
      return choice
    } catch (error) {
      if (error instanceof PublicIpError) return new UnderlayError(error.message)
      if (error instanceof UnderlayError) return error
      throw error
    }
  }

  #logVerdict(verdict: Verdict, before: UnderlayChoice, fresh: UnderlayChoice | UnderlayError): void {
    const { log } = this.#options
    if (verdict.kind !== 'waits' && fresh instanceof Error && isWished(this.#options.wish))
      this.#warnOfFlags(fresh, verdict.choice)
    if (verdict.kind === 'stands') {
      if (this.trouble !== undefined) log.info({}, `external interface is back: ${placeOf(verdict.choice)}`)
      else if (looksDifferent(verdict.choice, before)) this.#logChoice(verdict.choice)
      this.trouble = undefined
      if (verdict.better !== undefined) this.#warnOfBetter(verdict.better, verdict.choice)
    } else if (verdict.kind === 'moves') {
      this.trouble = undefined
      const why = verdict.sure ? verdict.choice.reason : `${placeOf(before)} did not come back`
      log.warn({ was: placeOf(before), now: placeOf(verdict.choice), why }, 'external interface changed')
    } else {
      const seconds = this.#options.patienceMs / 1000
      const trouble =
        verdict.next === undefined
          ? messageOf(fresh)
          : `external interface ${placeOf(before)} is gone; this node uses ${placeOf(verdict.next)} once it has been away for ${seconds} s`
      if (this.trouble !== trouble) log.error({ stays: before.name }, trouble)
      this.trouble = trouble
    }
  }

  #warnOfBetter(better: UnderlayChoice, choice: UnderlayChoice): void {
    const [place, stays] = [placeOf(better), placeOf(choice)]
    const text =
      `${place} would be chosen as external interface at the next start (${better.reason}): this node keeps ${stays} ` +
      'while that exists; to choose one of them permanently, name its address with --iface'
    this.#warnOnce(place, stays, text)
  }

  #warnOfFlags({ message }: UnderlayError, choice: UnderlayChoice): void {
    const text = `no external interface would be found at the next start, correct the flags before it: ${message}`
    this.#warnOnce(message, placeOf(choice), text)
  }

  #warnOnce(key: string, stays: string, text: string): void {
    if (this.#reports.isNew(key)) this.#options.log.warn({ stays }, text)
  }

  #logChoice({ name, publicIps, underlayMtu, reason }: UnderlayChoice): void {
    const fields = { interface: name, publicIps, underlayMtu, why: reason }
    this.#options.log.info(fields, 'external interface chosen')
  }

  /** Applies the rules by which peers judge public IPs, before they are published. */
  #checkPublicIps({ name, publicIps }: UnderlayChoice): void {
    const host = this.#hostNetworks(name, [])
    for (const [i, { network }] of this.#options.network.families.entries()) {
      const publicIp = publicIps[i]
      const trouble = publicIp && publicIpTrouble(publicIp, network, host)
      if (trouble)
        throw new PublicIpError(
          `Cannot publish ${publicIp} as this node's public IP: it ${trouble}; correct --public-ip or --iface`,
        )
    }
  }

  #hostNetworks(external: string, ownSubnets: readonly Prefix[]): HostNetworks {
    const { network, scope, endpoints } = this.#options
    return hostNetworks(this.facts, { network, devices: scope.devices, external, endpoints, ownSubnets })
  }
}

/** Whether an operator has to know: the prefixes on the link may change without a line. */
function looksDifferent(a: UnderlayChoice, b: UnderlayChoice): boolean {
  return placeOf(a) !== placeOf(b) || a.underlayMtu !== b.underlayMtu || `${a.publicIps}` !== `${b.publicIps}`
}
