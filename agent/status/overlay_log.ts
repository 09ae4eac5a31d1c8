import type { Log } from '../../lease/common/log.ts'
import type { LeaseProblem, LeaseTableChange } from '../../lease/lease.ts'
import type { Attempts } from '../reconcile/attempts.ts'
import type { Round } from '../reconcile/round.ts'
import type { RouteFacts } from '../state/underlay_facts.ts'
import { ContestLog } from './contest_log.ts'
import { PeerLog } from './peer_log.ts'
import { RoundLog } from './round_log.ts'

/** So many stale routes are named at once. */
const NAMED_ROUTES = 20

/** What an overlay says of peers, rounds and routes. */
export class OverlayLog {
  readonly #log: Log
  readonly #rounds: RoundLog
  readonly #contests: ContestLog
  readonly #peers: PeerLog

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

  peers(
    { table, changed }: LeaseTableChange,
    self: string,
    shared: Parameters<PeerLog['writeShared']>[0],
  ): void {
    this.#peers.write(table, changed, self)
    this.#peers.writeShared(shared)
  }

  refused(refused: ReadonlyMap<string, string>, problems: readonly LeaseProblem[]): void {
    this.#peers.writeRefused(refused, problems)
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
