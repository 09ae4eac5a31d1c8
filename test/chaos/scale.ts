import type { EtcdTuning } from '../../lease/etcd/client/tuning.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import { etcdOptions } from '../support/etcd_bed.ts'

export const PREFIX = '/chaos/network'

const ttlSeconds = 4

/** Production's times, shortened so that leases really run out within a minute. */
export const scale = {
  ttlSeconds,
  renewMarginMs: 2_000,
  tuning: {
    ttlSeconds,
    callTimeoutMs: 1_000,
    keepaliveMs: 1_500,
    keepaliveTimeoutMs: 1_000,
    firstRetryMs: 100,
    lastRetryMs: 1_000,
    checkMs: 2_000,
    relistMs: 20_000,
    relistAfterBreakMs: 2_000,
    refusedRetryMs: 700,
    graceMs: 12_000,
  } satisfies Partial<EtcdTuning>,
}

export function storeOptions(endpoints: readonly string[]): EtcdOptions {
  return etcdOptions(endpoints, PREFIX, { renewMarginMs: scale.renewMarginMs })
}
