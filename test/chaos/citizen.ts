import { setTimeout as sleep } from 'node:timers/promises'
import { vtepOf } from '../../lease/backend_data.ts'
import type { Lease } from '../../lease/lease.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { parseMac } from '../../lease/net/mac.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import { LeaseLostError, type LeaseRequest } from '../../lease/store.ts'
import { decodeSubnetKey } from '../../lease/wire.ts'
import type { CountedStore } from '../support/counted_store.ts'
import { vtep } from '../support/leases.ts'
import type { AgentHappening, Peer } from './history.ts'
import { nameOfMac } from './names.ts'
import type { Wire } from './wire.ts'

export interface CitizenOptions {
  readonly name: string
  /** Of its tunnel device: what names it in etcd. */
  readonly mac: string
  /** IPv4 first. */
  readonly publicIps: readonly string[]
  readonly wires: readonly Wire[]
  readonly openStore: () => CountedStore
  readonly record: (event: AgentHappening) => void
  /** Asks for its lost subnet again and again, or for any at once. */
  readonly whenLost: 'wait' | 'ask again'
}

/** One agent as the faults see it. */
export interface Resident {
  readonly name: string
  readonly publicIps: readonly string[]
  readonly wires: readonly Wire[]
  readonly isRunning: boolean
  /** Key that it had last, in this life or an earlier one: what subnet.env would say. Cleared, it has forgotten. */
  lastKey: string | undefined
  start(): void
  /** Ends without a word to etcd, as a process that is killed does. */
  crash(): Promise<void>
  /** Has these addresses from now on, running or not; no call where nothing changes. */
  readdress(publicIps: readonly string[]): void
  countCalls(): void
}

/** The lease layer of one agent, through many lives. It does with a store what an agent does, and records what it is told. */
export class Citizen implements Resident {
  readonly name: string
  publicIps: readonly string[]
  readonly wires: readonly Wire[]
  readonly #options: CitizenOptions
  #store: CountedStore | undefined
  #life = new AbortController()
  #moved = new AbortController()
  #lives: Promise<unknown> = Promise.resolve()
  #table = new Map<string, Peer>()
  #lost: string | undefined
  lastKey: string | undefined

  constructor(options: CitizenOptions) {
    this.#options = options
    this.name = options.name
    this.publicIps = options.publicIps
    this.wires = options.wires
  }

  get isRunning(): boolean {
    return this.#store !== undefined
  }

  start(): void {
    if (this.#store) return
    const previous = this.lastKey
    this.#record({ what: 'started', previous, ip: this.publicIps[0] ?? '' })
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

  readdress(publicIps: readonly string[]): void {
    this.publicIps = publicIps
    this.#moved.abort()
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

  async #own(store: CountedStore, previous: string | undefined, signal: AbortSignal): Promise<void> {
    const network = await store.networkConfig(signal)
    let wanted: readonly Prefix[] = previous === undefined ? [] : decodeSubnetKey(previous)
    let held: Lease | undefined
    while (!signal.aborted) {
      this.#moved = new AbortController()
      const until = AbortSignal.any([signal, this.#moved.signal])
      const lease: Lease = await store.acquire({ ...this.#request(network, wanted), held }, signal)
      this.lastKey = lease.node
      if (held === undefined) this.#record({ what: 'acquired', key: lease.node, since: lease.since })
      wanted = lease.subnets.map(subnet => subnet.prefix)
      held = (await this.#keep(store, lease, until)) ? lease : undefined
    }
  }

  /** Resolves to whether the lease is still held, where the signal aborted. */
  async #keep(store: CountedStore, lease: Lease, signal: AbortSignal): Promise<boolean> {
    for (;;) {
      const lost = await store.keep(lease, signal).then(() => undefined, whenLost(signal))
      if (lost === undefined) return true
      if (this.#lost === undefined) this.#record({ what: 'lost', key: lease.node })
      this.#lost = lease.node
      if (this.#options.whenLost === 'ask again' || lost.holder === undefined) break
      await sleep(500, undefined, { signal }).catch(() => {})
    }
    this.#lost = undefined
    return false
  }

  /** A host that has its subnet.env still has its tunnel device; both are gone after a reboot. */
  #request(network: NetworkConfig, previousSubnets: readonly Prefix[]): LeaseRequest {
    const publicIps = this.publicIps.slice(0, network.families.length).map(parseIp)
    const deviceMacs = previousSubnets.length === 0 ? [] : [parseMac(this.#options.mac)]
    const backendData = publicIps.map(() => vtep(this.#options.mac))
    const backendType = 'vxlan'
    return { network, publicIps, previousSubnets, deviceMacs, backendType, backendData: () => backendData }
  }

  async #follow(store: CountedStore, signal: AbortSignal): Promise<void> {
    for await (const { table } of store.watch(signal)) {
      const now = new Map<string, Peer>()
      for (const lease of table.values()) now.set(lease.node, peerOf(lease))
      const removed = [...this.#table.keys()].filter(key => !now.has(key))
      const set = [...now.values()].filter(peer => !isSame(peer, this.#table.get(peer.key)))
      this.#table = now
      if (removed.length + set.length > 0) this.#record({ what: 'table', set, removed })
      if (this.#lost !== undefined && now.get(this.#lost)?.holder === this.name)
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

function peerOf({ node, since, subnets }: Lease): Peer {
  const [first] = subnets
  const mac = first && vtepOf(first.backendData)?.mac
  return { key: node, since, holder: nameOfMac(mac), ip: first?.publicIp ?? '' }
}

function isSame(a: Peer, b: Peer | undefined): boolean {
  return a.since === b?.since && a.holder === b.holder && a.ip === b.ip
}

function whenLost(signal: AbortSignal): (error: unknown) => LeaseLostError | undefined {
  return error => {
    if (error instanceof LeaseLostError) return error
    if (signal.aborted) return undefined
    throw error
  }
}
