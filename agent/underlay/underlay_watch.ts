import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../../lease/common/log.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import type { Scope, UnderlaySource } from '../kernel/kernel.ts'
import type { RouteFacts } from '../state/underlay_facts.ts'
import { chooseUnderlay, type UnderlayChoice, UnderlayError, type UnderlayWish } from './underlay.ts'

/** The external interface, chosen again whenever the kernel's interfaces, addresses or routes changed. */
export class UnderlayWatch {
  readonly #kernel: UnderlaySource
  readonly #scope: Scope
  readonly #families
  readonly #wish: UnderlayWish
  readonly #log: Log
  #choice: UnderlayChoice | undefined
  #routes: readonly RouteFacts[] = []
  /** Why there is none to choose just now, though there was one; the last choice stands. */
  trouble: string | undefined

  constructor(kernel: UnderlaySource, scope: Scope, network: NetworkConfig, wish: UnderlayWish, log: Log) {
    this.#kernel = kernel
    this.#scope = scope
    this.#families = network.families.map(({ family }) => family)
    this.#wish = wish
    this.#log = log
  }

  /** Those that are not ours, at the last look. */
  get routes(): readonly RouteFacts[] {
    return this.#routes
  }

  /** Rejects with UnderlayError where no interface fits. */
  async choose(signal: AbortSignal): Promise<UnderlayChoice> {
    const facts = {
      interfaces: await this.#kernel.listInterfaces(signal),
      routes: await this.#kernel.listRoutes(this.#scope, signal),
    }
    this.#routes = facts.routes
    const choice = chooseUnderlay(this.#families, facts, this.#wish)
    const { name, publicIps, underlayMtu, reason } = choice
    if (!isDeepStrictEqual(choice, this.#choice))
      this.#log.info({ interface: name, publicIps, underlayMtu, why: reason }, 'external interface chosen')
    this.#choice = choice
    this.trouble = undefined
    return choice
  }

  /** The new choice where it is another one; undefined where nothing changed or nothing fits any more. */
  async review(signal: AbortSignal): Promise<UnderlayChoice | undefined> {
    const before = this.#choice
    try {
      const choice = await this.choose(signal)
      return isDeepStrictEqual(choice, before) ? undefined : choice
    } catch (error) {
      if (!(error instanceof UnderlayError)) throw error
      if (this.trouble !== error.message) this.#log.error({ stays: before?.name }, error.message)
      this.trouble = error.message
      return undefined
    }
  }
}
