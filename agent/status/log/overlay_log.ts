import type { Log } from '../../../lease/common/log.ts'
import { ReportOnce } from '../../../lease/common/report_once.ts'
import type { LeaseTableChange } from '../../../lease/lease.ts'
import type { Ip } from '../../../lease/net/ip.ts'
import type { Attempts } from '../../reconcile/attempts.ts'
import type { Round } from '../../reconcile/round.ts'
import type { RouteFacts } from '../../state/underlay_facts.ts'
import { ContestLog } from './contest_log.ts'
import { PeerLog } from './peer_log.ts'
import { RoundLog } from './round_log.ts'

/** Stale routes named in one line. */
const NAMED_ROUTES = 20

/** Logs an overlay's peers, rounds and routes. */
export class OverlayLog {
  readonly #log: Log
  readonly #rounds: RoundLog
  readonly #contests: ContestLog
  readonly #peers: PeerLog
  readonly #troubles = new ReportOnce()

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

  shared(shared: ReadonlyMap<Ip, readonly string[]>): void {
    this.#peers.writeShared(shared)
  }

  refused(refused: ReadonlyMap<string, string>, isProgrammed: (node: string) => boolean): void {
    this.#peers.writeRefused(refused, isProgrammed)
  }

  /** Problems of this node's own place in the network. */
  troubles(texts: readonly string[]): void {
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
