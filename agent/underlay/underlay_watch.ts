import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../../lease/common/log.ts'
import type { HostNetworks } from '../../lease/host_networks.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import { publicIpTrouble } from '../../lease/public_ip.ts'
import type { Scope, UnderlaySource } from '../kernel/kernel.ts'
import type { RouteFacts } from '../state/underlay_facts.ts'
import { hostNetworks } from './host_networks.ts'
import {
  chooseUnderlay,
  type UnderlayChoice,
  UnderlayError,
  type UnderlayFacts,
  type UnderlayWish,
} from './underlay.ts'

/** The external interface, chosen again whenever the kernel's interfaces, addresses or routes changed. */
export class UnderlayWatch {
  readonly #kernel: UnderlaySource
  readonly #scope: Scope
  readonly #network: NetworkConfig
  readonly #families
  readonly #wish: UnderlayWish
  readonly #log: Log
  readonly #endpoints: readonly Ip[]
  #choice: UnderlayChoice | undefined
  #facts: UnderlayFacts = { interfaces: [], routes: [] }
  /** Why there is none to choose just now, though there was one; the last choice stands. */
  trouble: string | undefined

  /** `endpoints`: addresses of the store. */
  constructor(
    kernel: UnderlaySource,
    scope: Scope,
    network: NetworkConfig,
    wish: UnderlayWish,
    log: Log,
    endpoints: readonly Ip[] = [],
  ) {
    this.#kernel = kernel
    this.#scope = scope
    this.#network = network
    this.#endpoints = endpoints
    this.#families = network.families.map(({ family }) => family)
    this.#wish = wish
    this.#log = log
  }

  /** Those that are not ours, at the last look. */
  get routes(): readonly RouteFacts[] {
    return this.#facts.routes
  }

  /** What the host lives on, at the last look, where this node's pods have these subnets. */
  hostNetworks(ownSubnets: readonly Prefix[]): HostNetworks {
    return this.#hostNetworks(this.#choice?.name ?? '', ownSubnets)
  }

  #hostNetworks(external: string, ownSubnets: readonly Prefix[]): HostNetworks {
    return hostNetworks(this.#facts, {
      network: this.#network,
      devices: this.#scope.devices,
      external,
      endpoints: this.#endpoints,
      ownSubnets,
    })
  }

  /** Rejects with UnderlayError where no interface fits. */
  async choose(signal: AbortSignal): Promise<UnderlayChoice> {
    const facts = {
      interfaces: await this.#kernel.listInterfaces(signal),
      routes: await this.#kernel.listRoutes(this.#scope, signal),
    }
    this.#facts = facts
    const choice = chooseUnderlay(this.#families, facts, this.#wish)
    this.#checkPublicIps(choice)
    const { name, publicIps, underlayMtu, reason } = choice
    if (!isDeepStrictEqual(choice, this.#choice))
      this.#log.info({ interface: name, publicIps, underlayMtu, why: reason }, 'external interface chosen')
    this.#choice = choice
    this.trouble = undefined
    return choice
  }

  /** By the rules that peers judge them by, before they are published. */
  #checkPublicIps({ name, publicIps }: UnderlayChoice): void {
    const host = this.#hostNetworks(name, [])
    for (const [i, { network }] of this.#network.families.entries()) {
      const publicIp = publicIps[i]
      const trouble = publicIp && publicIpTrouble(publicIp, network, host)
      if (trouble)
        throw new UnderlayError(
          `Cannot publish ${publicIp} as this node's public IP: it ${trouble}; correct --public-ip or --iface`,
        )
    }
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
