import type { Log } from '../common/log.ts'
import type { Retrier } from '../common/retry.ts'
import type { Reading } from '../table.ts'
import type { EtcdClient } from './client.ts'
import type { Grants } from './grants.ts'
import type { Recall } from './recall.ts'
import type { EtcdTuning } from './tuning.ts'

/** What every part of one etcd store works with. */
export interface EtcdContext {
  readonly client: EtcdClient
  readonly patience: Retrier
  readonly tuning: EtcdTuning
  readonly log: Log
  readonly recall: Recall
  readonly grants: Grants
  /** What other hosts do with our lease or our public IP, by who found it. */
  readonly conflicts: Map<string, string>
  /** Called when etcd has lost what it knew, before the answer that shows it is handed out. */
  readonly onReset: Set<() => void>
  /** Called for each lease or problem that is read from the table of all. */
  onReading: (reading: Reading) => void
  /** Called for each lease that is gone, by name. */
  onGone: (node: string) => void
  /** `/coreos.com/network/config`. */
  readonly configKey: string
  /** `/coreos.com/network/subnets/`: what stands before each subnet key. */
  readonly folder: string
}
