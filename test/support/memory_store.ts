import { setTimeout as sleep } from 'node:timers/promises'
import { chooseSubnets, fits } from '../../lease/allocate.ts'
import type { Lease, LeaseTableChange } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import { parseNetworkConfig } from '../../lease/network_config/parser.ts'
import {
  LeaseLostError,
  LeaseRefusedError,
  type LeaseRequest,
  type LeaseStore,
  type StoreHealth,
} from '../../lease/store.ts'
import { LiveTable } from '../../lease/table.ts'
import {
  decodeLease,
  decodeSubnetKey,
  encodeLeaseValue,
  encodeSubnetKey,
  WireError,
} from '../../lease/wire.ts'

/**
 * The store that the nodes of one network share: keys and values as in etcd, in the memory of one process.
 */
export class MemoryServer {
  readonly #values = new Map<string, { readonly value: string; readonly since: number }>()
  readonly #listeners = new Set<() => void>()
  #revision = 0
  #reachable = true
  #config: string | undefined

  /** The network config's JSON. */
  writeConfig(text: string): void {
    this.#config = text
    this.#changed()
  }

  /** Writes the key as another program, whatever it holds. */
  write(key: string, value: string): void {
    this.#revision++
    this.#values.set(key, { value, since: this.#values.get(key)?.since ?? this.#revision })
    this.#changed()
  }

  remove(key: string): void {
    this.#values.delete(key)
    this.#changed()
  }

  /** While it is false, every call waits and watches are silent. */
  set reachable(reachable: boolean) {
    this.#reachable = reachable
    this.#changed()
  }

  get reachable(): boolean {
    return this.#reachable
  }

  get config(): string | undefined {
    return this.#config
  }

  get entries(): ReadonlyMap<string, { readonly value: string; readonly since: number }> {
    return this.#values
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}

/**
 * One node's store on a MemoryServer, for tests. Keeps every promise of LeaseStore, except that its leases
 * end with the process.
 */
export class MemoryStore implements LeaseStore {
  readonly #server: MemoryServer
  readonly #requests = new Map<string, LeaseRequest>()
  readonly #random: () => number
  #lastContactMs: number | undefined
  #refused: string | undefined

  constructor(server: MemoryServer, random: () => number = Math.random) {
    this.#server = server
    this.#random = random
  }

  async networkConfig(signal: AbortSignal): Promise<NetworkConfig> {
    return this.#when(() => {
      const text = this.#server.config
      return text === undefined ? undefined : parseNetworkConfig(text)
    }, signal)
  }

  async acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const lease = await this.#when(() => this.#claimOrNote(request), signal)
    this.#requests.set(lease.node, request)
    return lease
  }

  async keep(lease: Lease, signal: AbortSignal, onKept: () => void = () => {}): Promise<void> {
    const request = this.#requests.get(lease.node)
    if (!request) throw new Error(`Cannot keep ${lease.node}: this store did not acquire it`)
    const value = valueFor(request, lease)
    const check = () => {
      const holder = readLease(lease.node, this.#server)
      if (!this.#server.entries.has(lease.node)) this.#server.write(lease.node, value)
      else if (holder && !isHeldBy(holder, request.publicIps))
        throw new LeaseLostError(
          `Our subnet ${lease.node} was taken by ${holder.subnets[0]?.publicIp}`,
          holder,
        )
      onKept()
      return undefined
    }
    try {
      await this.#when<never>(check, signal)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  async *watch(signal: AbortSignal): AsyncGenerator<LeaseTableChange, never, undefined> {
    const table = new LiveTable(undefined)
    const list = () => {
      if (this.#contact()) table.list([...this.#server.entries].map(([key, entry]) => reading(key, entry)))
    }
    const silence = this.#server.listen(list)
    list()
    try {
      return yield* table.watch(signal)
    } finally {
      silence()
    }
  }

  health(): StoreHealth {
    const trouble = this.#server.reachable ? this.#refused : 'the memory store is unreachable'
    return { lastContactMs: this.#lastContactMs, trouble, troubleMs: 0 }
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #claimOrNote(request: LeaseRequest): Lease | undefined {
    try {
      const lease = this.#claim(request)
      this.#refused = undefined
      return lease
    } catch (error) {
      if (!(error instanceof LeaseRefusedError)) throw error
      this.#refused = `${error.message}; still waiting for one`
      return undefined
    }
  }

  #claim(request: LeaseRequest): Lease {
    if (request.held !== undefined) return this.#republish(request, request.held)
    const leases = [...this.#server.entries]
      .map(([key, entry]) => reading(key, entry))
      .filter(lease => 'node' in lease)
      .filter(lease => isHeldBy(lease, request.publicIps))
    const own = leases.find(lease => fits(request.network, prefixesOf(lease)))
    for (const lease of leases) if (lease !== own) this.#server.remove(lease.node)
    const taken = [...this.#server.entries.keys()].flatMap(decodeSubnetKey).concat(request.hostNetworks ?? [])
    const wanted = [...request.previousSubnets, ...leases.flatMap(prefixesOf)]
    const prefixes = own ? prefixesOf(own) : chooseSubnets(request.network, taken, wanted, this.#random)
    const key = encodeSubnetKey(prefixes)
    this.#server.write(key, valueFor(request, own ?? leases[0]))
    return readLease(key, this.#server) as Lease
  }

  /** Keeps the subnet; writes the key unless it is another node's. */
  #republish(request: LeaseRequest, { node, ...held }: Lease): Lease {
    const value = valueFor(request, { node, ...held })
    const [stands, before] = [readLease(node, this.#server), this.#requests.get(node)]
    if (stands === undefined || before === undefined || isHeldBy(stands, before.publicIps))
      this.#server.write(node, value)
    return decodeLease(node, value, held.since)
  }

  /** Calls `look` now and after each change, until it returns a value. */
  async #when<T>(look: () => T | undefined, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted()
      const stop = new AbortController()
      const wake = () => stop.abort()
      const silence = this.#server.listen(wake)
      signal.addEventListener('abort', wake, { once: true })
      try {
        const found = this.#contact() ? look() : undefined
        if (found !== undefined) return found
        await sleep(2 ** 31 - 1, undefined, { signal: stop.signal }).catch(() => {})
      } finally {
        silence()
        signal.removeEventListener('abort', wake)
      }
    }
  }

  #contact(): boolean {
    if (this.#server.reachable) this.#lastContactMs = Date.now()
    return this.#server.reachable
  }
}

function valueFor(request: LeaseRequest, previous: Lease | undefined): string {
  return encodeLeaseValue({ ...request, backendData: request.backendData(previous) })
}

function reading(key: string, { value, since }: { readonly value: string; readonly since: number }) {
  try {
    return decodeLease(key, value, since)
  } catch (error) {
    if (error instanceof WireError) return { key, reason: error.message }
    throw error
  }
}

function readLease(key: string, server: MemoryServer): Lease | undefined {
  const entry = server.entries.get(key)
  const read = entry && reading(key, entry)
  return read && 'node' in read ? read : undefined
}

function prefixesOf(lease: Lease): readonly Prefix[] {
  return lease.subnets.map(subnet => subnet.prefix)
}

function isHeldBy(lease: Lease, publicIps: readonly Ip[]): boolean {
  return publicIps.includes(lease.subnets[0]?.publicIp ?? ('' as Ip))
}
