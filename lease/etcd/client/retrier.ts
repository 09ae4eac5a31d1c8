import type { Log } from '../../common/log.ts'
import { Retrier } from '../../common/retry.ts'
import { EtcdError } from './error.ts'
import type { EtcdTuning } from './tuning.ts'

export function openRetrier(endpoints: number, tuning: EtcdTuning, log: Log): Retrier {
  return new Retrier({
    minMs: tuning.firstRetryMs,
    maxMs: tuning.lastRetryMs,
    away: { failures: endpoints, afterMs: tuning.callTimeoutMs },
    isTrouble: error => error instanceof EtcdError && error.kind !== 'closed',
    sayAfterMs: tuning.sayAfterMs,
    random: tuning.random,
    now: () => tuning.clock.now(),
    log,
  })
}
