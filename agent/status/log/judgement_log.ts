import { sleep } from '../../../lease/common/sleep.ts'
import { WakeUp } from '../../../lease/common/wake_up.ts'
import type { Membership } from '../../membership/membership.ts'
import type { OverlayLog } from './overlay_log.ts'

/** Time between two checks of all peers: there may be thousands, and a change of one may refuse others. */
const JUDGEMENT_MS = 1_000

/** Logs which leases are refused, and what that means for this node. */
export class JudgementLog {
  readonly #membership: Membership
  readonly #log: OverlayLog
  readonly #changed = new WakeUp()

  constructor(membership: Membership, log: OverlayLog) {
    this.#membership = membership
    this.#log = log
  }

  /** Peers were judged again. */
  changed(): void {
    this.#changed.set()
  }

  async run(signal: AbortSignal): Promise<never> {
    const { peers } = this.#membership
    for (;;) {
      await this.#changed.wait(Number.POSITIVE_INFINITY, signal)
      this.#log.refused(this.#membership.refused, node => this.#membership.isProgrammed(node))
      this.#log.shared(peers.shared)
      this.#log.troubles(this.#membership.troubles)
      await sleep(JUDGEMENT_MS, signal)
    }
  }
}
