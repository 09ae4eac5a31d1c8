import type { Log } from '../../../lease/common/log.ts'
import { ReportOnce } from '../../../lease/common/report_once.ts'
import { sleep } from '../../../lease/common/sleep.ts'
import { WakeUp } from '../../../lease/common/wake_up.ts'
import type { LeaseTableChange } from '../../../lease/lease.ts'
import type { Membership } from '../../membership/membership.ts'
import type { Attempts } from '../../reconcile/attempts.ts'
import type { Round } from '../../reconcile/round.ts'
import type { RouteFacts } from '../../state/underlay_facts.ts'
import { ContestLog } from './contest_log.ts'
import { PeerLog } from './peer_log.ts'
import { RoundLog } from './round_log.ts'

/** Stale routes named in one line. */
const NAMED_ROUTES = 20
/** Time between two checks of all peers: there may be thousands, and a change of one may refuse others. */
const JUDGEMENT_MS = 1_000

/** Logs an overlay's peers, rounds and routes. */
export class OverlayLog {
  readonly #log: Log
  readonly #rounds: RoundLog
  readonly #contests: ContestLog
  readonly #peers: PeerLog
  readonly #troubles = new ReportOnce()
  readonly #judged = new WakeUp()

  constructor(log: Log) {
    this.#log = log
    this.#rounds = new RoundLog(log)
    this.#contests = new ContestLog(log)
    this.#peers = new PeerLog(log)
  }

  round(round: Round, { refused, contested }: Pick<Attempts, 'refused' | 'contested'>): void {
    this.#rounds.write(round, refused)
    this.#contests.write(contested)
  }

  peers({ table, changed }: LeaseTableChange, self: string): void {
    this.#peers.write(table, changed, self)
  }

  /** Peers were judged again. */
  judged(): void {
    this.#judged.set()
  }

  /** Logs which leases are refused, and what that means for this node. */
  async run(membership: Membership, signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#judged.wait(Number.POSITIVE_INFINITY, signal)
      this.#peers.writeRefused(membership.refused, node => membership.isProgrammed(node))
      this.#peers.writeShared(membership.peers.shared)
      this.#writeTroubles(membership.troubles)
      await sleep(JUDGEMENT_MS, signal)
    }
  }

  /** Problems of this node's own place in the network. */
  #writeTroubles(texts: readonly string[]): void {
    this.#troubles.settle(
      new Map(texts.map(text => [text, text])),
      text => this.#log.warn({}, text),
      text => this.#log.info({ trouble: text }, 'trouble is over'),
    )
  }

  staleRoutes(stale: readonly RouteFacts[]): void {
    if (stale.length === 0) return
    const routes = stale.slice(0, NAMED_ROUTES).map(({ dst, via, dev }) => `${dst} via ${via} dev ${dev}`)
    this.#log.warn(
      { stale: stale.length, routes },
      'routes into the network that lead to no peer: a former flanneld or another program added them; they are left alone',
    )
  }
}
