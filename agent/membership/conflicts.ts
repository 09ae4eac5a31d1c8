import { WakeUp } from '../../lease/common/wake_up.ts'
import type { NodeReporter } from '../../lease/store.ts'

/** Peers that claim this node's subnet or public IP. Reports each reason once to the cluster's operator. */
export class Conflicts {
  readonly #reporter: NodeReporter | undefined
  readonly #reasons = new Map<string, string>()
  readonly #unreported = new Set<string>()
  readonly #wakeUp = new WakeUp()

  constructor(reporter: NodeReporter | undefined) {
    this.#reporter = reporter
  }

  note(peer: string, reason: string | undefined): void {
    if (this.#reasons.get(peer) === reason) return
    if (reason === undefined) {
      this.#reasons.delete(peer)
      this.#unreported.delete(peer)
    } else {
      this.#reasons.set(peer, reason)
      this.#unreported.add(peer)
      this.#wakeUp.set()
    }
  }

  /** Reports new conflicts until the signal aborts. `self` returns this node's name in the store. */
  async report(self: () => string, signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#wakeUp.wait(Number.POSITIVE_INFINITY, signal)
      for (const peer of this.#unreported) {
        this.#unreported.delete(peer)
        const reason = this.#reasons.get(peer)
        if (reason !== undefined) await this.#reporter?.report({ key: self(), reason }, signal)
      }
    }
  }
}
