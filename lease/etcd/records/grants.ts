import type { EtcdClient } from '../client/client.ts'
import type { EtcdTuning } from '../client/tuning.ts'

/**
 * The etcd leases that this process was granted: only these may it revoke. One that is not known to be in use
 * is kept for the next write, so that hours of refused writes leave one etcd lease behind and not thousands.
 */
export class Grants {
  readonly #client: EtcdClient
  readonly #tuning: EtcdTuning
  readonly #grantedAt = new Map<string, number>()
  /** By key, the etcd lease that it was last written with. */
  readonly #written = new Map<string, string>()
  /** `key`: where a write without an answer may have put it; undefined where it is attached to nothing. */
  #spare: { readonly leaseId: string; readonly key: string | undefined; readonly uses: number } | undefined

  constructor(client: EtcdClient, tuning: EtcdTuning) {
    this.#client = client
    this.#tuning = tuning
  }

  /** For a write of that key: the one left over while seven eighths of its life are left, else a new one. */
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

  /** The write was done. */
  used(leaseId: string): void {
    if (this.#spare?.leaseId === leaseId) this.#spare = undefined
  }

  /**
   * The key was written with that etcd lease: revokes the one that it was written with before. A stray write
   * or deletion of the key in between has left that attached to nothing.
   */
  async wrote(key: string, leaseId: string, signal: AbortSignal): Promise<void> {
    const before = this.#written.get(key)
    this.#written.set(key, leaseId)
    if (before !== undefined && before !== leaseId) await this.revoke(before, signal)
  }

  /**
   * This write was certainly not carried out. An earlier one without an answer may have been: it stays for
   * that key.
   */
  giveBack(leaseId: string): void {
    if (this.#spare?.leaseId === leaseId && this.#spare.uses === 1)
      this.#spare = { leaseId, key: undefined, uses: 0 }
  }

  /** etcd no longer knows it. */
  forget(leaseId: string): void {
    this.#grantedAt.delete(leaseId)
    if (this.#spare?.leaseId === leaseId) this.#spare = undefined
  }

  grantedAt(leaseId: string): number | undefined {
    return this.#grantedAt.get(leaseId)
  }

  /**
   * Call once the key is attached to another etcd lease: revoking then removes only what an unanswered write
   * may have left. Not worth a retry: it expires by itself.
   */
  async revoke(leaseId: string, signal: AbortSignal): Promise<void> {
    if (!this.#grantedAt.has(leaseId)) return
    this.forget(leaseId)
    await this.#client.revoke(leaseId, signal).catch(() => signal.throwIfAborted())
  }
}
