import type { EtcdClient } from '../client/client.ts'
import type { EtcdTuning } from '../client/tuning.ts'

/**
 * The etcd leases that this process was granted, and may revoke. One not in use is kept for the next write,
 * so that hours of refused writes leave one behind instead of thousands.
 */
export class Grants {
  readonly #client: EtcdClient
  readonly #tuning: EtcdTuning
  readonly #grantedAt = new Map<string, number>()
  readonly #written = new Map<string, string>()
  /** Not known to be in use. `key`: a write of this key had no answer; undefined: it is attached to none. */
  #spare: { readonly leaseId: string; readonly key: string | undefined; readonly uses: number } | undefined

  constructor(client: EtcdClient, tuning: EtcdTuning) {
    this.#client = client
    this.#tuning = tuning
  }

  /** An etcd lease to write this key with: the spare one in the first eighth of its life, else a new one. */
  async take(key: string, signal: AbortSignal): Promise<string> {
    const { clock, ttlSeconds } = this.#tuning
    const spare = this.#spare
    const age = clock.now() - (this.#grantedAt.get(spare?.leaseId ?? '') ?? Number.NEGATIVE_INFINITY)
    if (spare !== undefined && (spare.key ?? key) === key && age < ttlSeconds * 125) {
      this.#spare = { leaseId: spare.leaseId, key, uses: spare.uses + 1 }
      return spare.leaseId
    }
    if (spare !== undefined && spare.key === undefined) await this.revoke(spare.leaseId, signal)
    const at = clock.now()
    const leaseId = await this.#client.grant(ttlSeconds, signal)
    this.#grantedAt.set(leaseId, at)
    this.#spare = { leaseId, key, uses: 1 }
    return leaseId
  }

  /** Call when the write was done: the etcd lease is in use. */
  used(leaseId: string): void {
    if (this.#spare?.leaseId === leaseId) this.#spare = undefined
  }

  /** Revokes the etcd lease before, which a stray write or a deletion may have left without a key. */
  async wrote(key: string, leaseId: string, signal: AbortSignal): Promise<void> {
    const before = this.#written.get(key)
    this.#written.set(key, leaseId)
    if (before !== undefined && before !== leaseId) await this.revoke(before, signal)
  }

  /** Call when this write was certainly not done. An earlier one without an answer keeps it for that key. */
  giveBack(leaseId: string): void {
    if (this.#spare?.leaseId === leaseId && this.#spare.uses === 1)
      this.#spare = { leaseId, key: undefined, uses: 0 }
  }

  forget(leaseId: string): void {
    this.#grantedAt.delete(leaseId)
    if (this.#spare?.leaseId === leaseId) this.#spare = undefined
  }

  grantedAt(leaseId: string): number | undefined {
    return this.#grantedAt.get(leaseId)
  }

  /**
   * Once the key has another etcd lease this removes at most what a write without an answer left. Ignores
   * failures: an etcd lease expires by itself.
   */
  async revoke(leaseId: string, signal: AbortSignal): Promise<void> {
    if (!this.#grantedAt.has(leaseId)) return
    this.forget(leaseId)
    await this.#client.revoke(leaseId, signal).catch(() => signal.throwIfAborted())
  }
}
