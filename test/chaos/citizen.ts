import { setTimeout as sleep } from 'node:timers/promises'
import type { EtcdLeaseStore } from '../../lease/etcd/store.ts'
import { parseIp } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import { LeaseLostError, type LeaseRequest } from '../../lease/store.ts'
import { decodeSubnetKey } from '../../lease/wire.ts'
import { vtep } from '../support/leases.ts'
import type { AgentHappening, Peer } from './history.ts'
import type { Wire } from './wire.ts'

export interface CitizenOptions {
  /** IPv4 first; the first one is its name. */
  readonly publicIps: readonly string[]
  readonly wires: readonly Wire[]
  readonly openStore: () => EtcdLeaseStore
  readonly record: (event: AgentHappening) => void
  /** Asks for its lost subnet again and again, or for any at once. */
  readonly whenLost: 'wait' | 'ask anew'
}

/** One agent as the faults see it. */
export interface Resident {
  /** Its first public IP. */
  readonly name: string
  readonly wires: readonly Wire[]
  readonly isRunning: boolean
  /** Key that it had last, in this life or an earlier one: what subnet.env would say. Cleared, it has forgotten. */
  lastKey: string | undefined
  start(): void
  /** Ends without a word to etcd, as a process that is killed does. */
  crash(): Promise<void>
  countCalls(): void
}

/** The lease layer of one agent, through many lives. It does with a store what an agent does, and records what it is told. */
export class Citizen implements Resident {
  readonly name: string
  readonly wires: readonly Wire[]
  readonly #options: CitizenOptions
  #store: EtcdLeaseStore | undefined
  #life = new AbortController()
  #lives: Promise<unknown> = Promise.resolve()
  #table = new Map<string, Peer>()
  #lost: string | undefined
  lastKey: string | undefined

  constructor(options: CitizenOptions) {
    this.#options = options
    this.name = options.publicIps[0] ?? ''
    this.wires = options.wires
  }

  get isRunning(): boolean {
    return this.#store !== undefined
  }

  start(): void {
    if (this.#store) return
    const previous = this.lastKey
    this.#record({ what: 'started', previous })
    const store = this.#options.openStore()
    this.#store = store
    this.#life = new AbortController()
    this.#table = new Map()
    this.#lost = undefined
    const { signal } = this.#life
    this.#lives = Promise.all([this.#own(store, previous, signal), this.#follow(store, signal)]).catch(
      error => {
        if (signal.aborted) return
        this.#record({
          what: 'failed',
          error: error instanceof Error ? (error.stack ?? error.message) : `${error}`,
        })
        return this.#end()
      },
    )
  }

  async crash(): Promise<void> {
    if (!this.#store) return
    this.#record({ what: 'ended' })
    for (const wire of this.wires) wire.set('cut')
    await this.#end()
    await this.#lives
    for (const wire of this.wires) wire.set('open')
  }

  countCalls(): void {
    if (this.#store) this.#record({ what: 'calls', calls: this.#store.calls })
  }

  async #end(): Promise<void> {
    const store = this.#store
    this.#store = undefined
    this.#life.abort()
    await store?.close()
  }

  async #own(store: EtcdLeaseStore, previous: string | undefined, signal: AbortSignal): Promise<void> {
    const network = await store.networkConfig(signal)
    let wanted: readonly Prefix[] = previous === undefined ? [] : decodeSubnetKey(previous)
    while (!signal.aborted) {
      const lease = await store.acquire(this.#request(network, wanted), signal)
      this.lastKey = lease.node
      this.#record({ what: 'acquired', key: lease.node, since: lease.since })
      wanted = lease.subnets.map(subnet => subnet.prefix)
      for (;;) {
        const lost = await store.keep(lease, signal).then(() => undefined, whenLost)
        if (lost === undefined) return
        if (this.#lost === undefined) this.#record({ what: 'lost', key: lease.node })
        this.#lost = lease.node
        if (this.#options.whenLost === 'ask anew' || lost.holder === undefined) break
        await sleep(500, undefined, { signal })
      }
      this.#lost = undefined
    }
  }

  #request(network: NetworkConfig, previousSubnets: readonly Prefix[]): LeaseRequest {
    const publicIps = this.#options.publicIps.slice(0, network.families.length).map(parseIp)
    const backendData = publicIps.map(() => vtep(macOf(this.name)))
    return { network, publicIps, previousSubnets, backendType: 'vxlan', backendData: () => backendData }
  }

  async #follow(store: EtcdLeaseStore, signal: AbortSignal): Promise<void> {
    for await (const { table } of store.watch(signal)) {
      const now = new Map<string, Peer>()
      for (const { node, since, subnets } of table.values())
        now.set(node, { key: node, since, ip: subnets[0]?.publicIp ?? '' })
      const removed = [...this.#table.keys()].filter(key => !now.has(key))
      const set = [...now.values()].filter(peer => !isSame(peer, this.#table.get(peer.key)))
      this.#table = now
      if (removed.length + set.length > 0) this.#record({ what: 'table', set, removed })
      if (this.#lost !== undefined && now.get(this.#lost)?.ip === this.name)
        this.#regained(now.get(this.#lost))
    }
  }

  /** A lost lease that is kept again: nothing else tells it than the table. */
  #regained(peer: Peer | undefined): void {
    if (peer) this.#record({ what: 'acquired', key: peer.key, since: peer.since })
    this.#lost = undefined
  }

  #record(event: DistributiveOmit<AgentHappening, 'agent'>): void {
    if (this.#life.signal.aborted && event.what !== 'started') return
    this.#options.record({ agent: this.name, ...event })
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

/** A device of its own, as every host has. */
function macOf(ip: string): string {
  const bytes = ip.split('.').map(byte => Number(byte).toString(16).padStart(2, '0'))
  return `02:00:${bytes.join(':')}`
}

function isSame(a: Peer, b: Peer | undefined): boolean {
  return a.since === b?.since && a.ip === b.ip
}

function whenLost(error: unknown): LeaseLostError {
  if (error instanceof LeaseLostError) return error
  throw error
}
