import { WakeUp } from '../../lease/common/wake_up.ts'
import type { NodeReporter } from '../../lease/store.ts'

/**
 * Peers that claim what this node has, its subnet or its public IP, told to the cluster's operator: once for
 * each reason.
 */
export class Conflicts {
  readonly #reporter: NodeReporter | undefined
  readonly #reasons = new Map<string, string>()
  readonly #untold = new Set<string>()
  readonly #wakeUp = new WakeUp()

  constructor(reporter: NodeReporter | undefined) {
    this.#reporter = reporter
  }

  /** What stands between that peer and this node; undefined where nothing does. */
  see(peer: string, reason: string | undefined): void {
    if (this.#reasons.get(peer) === reason) return
    if (reason === undefined) {
      this.#reasons.delete(peer)
      this.#untold.delete(peer)
    } else {
      this.#reasons.set(peer, reason)
      this.#untold.add(peer)
      this.#wakeUp.set()
    }
  }

  /** Until the signal aborts. `self` is this node's name in the store. */
  async tell(self: () => string, signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#wakeUp.wait(Number.POSITIVE_INFINITY, signal)
      for (const peer of this.#untold) {
        this.#untold.delete(peer)
        const reason = this.#reasons.get(peer)
        if (reason !== undefined) await this.#reporter?.report({ key: self(), reason }, signal)
      }
    }
  }
}
