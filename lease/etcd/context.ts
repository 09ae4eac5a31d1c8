import type { Log } from '../common/log.ts'
import type { Retrier } from '../common/retry.ts'
import type { EtcdClient } from './client.ts'
import type { Recall } from './recall.ts'
import type { EtcdTuning } from './tuning.ts'

/** What every part of one etcd store works with. */
export interface EtcdContext {
  readonly client: EtcdClient
  readonly patience: Retrier
  readonly tuning: EtcdTuning
  readonly log: Log
  readonly recall: Recall
  /** Called when etcd has lost what it knew, before the answer that shows it is handed out. */
  readonly onReset: Set<() => void>
  /** `/coreos.com/network/config`. */
  readonly configKey: string
  /** `/coreos.com/network/subnets/`: what stands before each subnet key. */
  readonly folder: string
}
