import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../../lease/common/log.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Lease } from '../../lease/lease.ts'
import { printLease } from '../../lease/lease.ts'
import { familyOf } from '../../lease/net/ip.ts'
import { localMac, type Mac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import { LeaseLostError, type LeaseStore } from '../../lease/store.ts'
import type { Backend, Underlay } from '../backend/backend.ts'

export interface OwnLeaseOptions {
  readonly store: LeaseStore
  readonly network: NetworkConfig
  readonly backend: Backend
  readonly log: Log
  /** Former subnets of this node, from subnet.env and its devices. */
  readonly previousSubnets: readonly Prefix[]
  /** MACs of existing devices, one a family of the network. */
  readonly deviceMacs: readonly (Mac | undefined)[]
  readonly leaseLost: 'wait' | 'exit'
  /** The host's own networks, for a node with these subnets. No subnet is chosen over them. */
  readonly hostNetworks: (own: readonly Prefix[]) => readonly Prefix[]
  /** At least 6 bytes. */
  readonly randomBytes: () => Uint8Array
  readonly onChange?: () => void
}

/** How long to wait before claiming a lost subnet again; a change of our key in the table ends the wait. */
const LOST_RETRY_MS = 30_000

/**
 * This node's lease: claims, renews, and publishes it again for another underlay. When another node takes it,
 * the kernel stays as it is, and the subnet is claimed again once that node has released it.
 */
export class OwnLease {
  readonly #options: OwnLeaseOptions
  readonly #retryLost = new WakeUp()
  #macs: readonly (Mac | undefined)[]
  #subnets: readonly Prefix[]
  underlay: Underlay
  #lease: Lease | undefined
  #moved = new AbortController()
  /** Why this node does not hold its lease as published, for readiness; undefined while it does. */
  trouble: string | undefined

  constructor(options: OwnLeaseOptions, underlay: Underlay) {
    this.#options = options
    this.underlay = underlay
    this.#macs = options.deviceMacs
    this.#subnets = options.previousSubnets
  }

  /** Publishes the lease again only where the public IPs differ: peers see nothing else of it. */
  move(underlay: Underlay): void {
    const hasSameIps = isDeepStrictEqual(underlay.publicIps, this.underlay.publicIps)
    this.underlay = underlay
    if (!hasSameIps) this.#moved.abort(new Error('the public IP has changed'))
  }

  /** Our key changed in the table: a lost lease may be free again. */
  reconsider(): void {
    this.#retryLost.set()
  }

  async claim(signal: AbortSignal): Promise<Lease> {
    const { store, network, backend, log } = this.#options
    const held = this.#lease
    const request = {
      network,
      publicIps: this.underlay.publicIps,
      held,
      previousSubnets: this.#subnets,
      hostNetworks: this.#options.hostNetworks(this.#subnets),
      deviceMacs: this.#macs.filter(mac => mac !== undefined),
      backendType: backend.type,
      backendData: (previous: Lease | undefined) => backend.publish(this.#chooseMacs(previous)),
    }
    const lease = await store.acquire(request, signal)
    if (held === undefined) this.trouble = undefined
    this.#lease = lease
    this.#macs = backend.publishedMacs(lease)
    log.info({ node: lease.node, lease: printLease(lease) }, 'this node has its lease')
    this.#compareSubnets(lease)
    return lease
  }

  /** Warns where the subnet differs from the last one: existing pods keep their old addresses. */
  #compareSubnets({ subnets }: Lease): void {
    const before = this.#subnets
    this.#subnets = subnets.map(({ prefix }) => prefix)
    for (const { prefix } of subnets) {
      const old = before.find(one => familyOf(one) === familyOf(prefix))
      if (old === undefined || before.includes(prefix)) continue
      this.#options.log.warn(
        { before: old, now: prefix },
        `this node's subnet was ${old} and is ${prefix} now: pods made before keep addresses of ${old}, which other nodes no ` +
          'longer reach; recreate these pods, and the bridge (cni0, docker0) where it keeps its old address',
      )
    }
  }

  /** Renews the lease; calls `onLease` with each lease that was claimed again. Call `claim` first. */
  async keep(onLease: (lease: Lease) => void, signal: AbortSignal): Promise<never> {
    for (;;) {
      signal.throwIfAborted()
      if (this.#moved.signal.aborted || this.#lease === undefined) {
        this.#moved = new AbortController()
        onLease(await this.claim(signal))
      }
      await this.#keepOnce(AbortSignal.any([signal, this.#moved.signal]))
    }
  }

  async #keepOnce(signal: AbortSignal): Promise<void> {
    const { store, log, leaseLost } = this.#options
    if (this.#lease === undefined) return
    try {
      await store.keep(this.#lease, signal, () => this.#kept())
    } catch (error) {
      if (!(error instanceof LeaseLostError)) {
        if (signal.aborted) return
        throw error
      }
      if (leaseLost === 'exit') throw error
      const { holder } = error
      if (this.trouble !== error.message) log.error({ holder: holder && printLease(holder) }, error.message)
      this.trouble = error.message
      this.#options.onChange?.()
      if (holder === undefined) this.#lease = undefined
      else await this.#retryLost.wait(LOST_RETRY_MS, signal).catch(() => undefined)
    }
  }

  #kept(): void {
    if (this.trouble !== undefined) this.#options.log.info({}, 'this node has its subnet back')
    this.trouble = undefined
    this.#options.onChange?.()
  }

  /** Keeps the published MAC, else the MAC of the existing device, else makes a new one. */
  #chooseMacs(previous: Lease | undefined): readonly Mac[] {
    const { network, backend, randomBytes } = this.#options
    const published = previous === undefined ? [] : backend.publishedMacs(previous)
    const macs = network.families.map((_, i) => published[i] ?? this.#macs[i] ?? localMac(randomBytes()))
    this.#macs = macs
    return macs
  }
}
