import type { EtcdClient } from './client.ts'
import type { EtcdTuning } from './tuning.ts'

/**
 * The etcd leases that this process was granted: those, and no others, it may revoke. One that was granted and is not known
 * to be in use is kept for the next write, so that writes which etcd refuses for hours leave one behind and not thousands.
 */
export class Grants {
  readonly #client: EtcdClient
  readonly #tuning: EtcdTuning
  readonly #grantedAt = new Map<string, number>()
  /** `key`: where a write that was not answered may have put it; undefined where it is attached to nothing. */
  #spare: { readonly leaseId: string; readonly key: string | undefined; readonly uses: number } | undefined

  constructor(client: EtcdClient, tuning: EtcdTuning) {
    this.#client = client
    this.#tuning = tuning
  }

  /** For a write of that key: the one left over, or a new one. */
  async take(key: string, signal: AbortSignal): Promise<string> {
    const { clock, ttlSeconds } = this.#tuning
    const spare = this.#spare
    const age = clock.now() - (this.#grantedAt.get(spare?.leaseId ?? '') ?? Number.NEGATIVE_INFINITY)
    if (spare !== undefined && (spare.key ?? key) === key && age < ttlSeconds * 10) {
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

  /** This write was certainly not done. An earlier one that was not answered may have been: then it stays for that key. */
  giveBack(leaseId: string): void {
    if (this.#spare?.leaseId === leaseId && this.#spare.uses === 1)
      this.#spare = { leaseId, key: undefined, uses: 0 }
  }

  grantedAt(leaseId: string): number | undefined {
    return this.#grantedAt.get(leaseId)
  }

  /**
   * Called once the key is attached to another lease: revoking then removes nothing but what an unanswered write may have
   * left behind. Not worth a retry: it runs out by itself.
   */
  async revoke(leaseId: string, signal: AbortSignal): Promise<void> {
    if (!this.#grantedAt.delete(leaseId)) return
    if (this.#spare?.leaseId === leaseId) this.#spare = undefined
    await this.#client.revoke(leaseId, signal).catch(() => signal.throwIfAborted())
  }
}
