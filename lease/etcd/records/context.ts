import type { Log } from '../../common/log.ts'
import type { Retrier } from '../../common/retry.ts'
import type { Lease } from '../../lease.ts'
import type { EtcdClient } from '../client/client.ts'
import type { EtcdTuning } from '../client/tuning.ts'
import type { LastSeen } from '../last_seen/last_seen.ts'
import type { Grants } from './grants.ts'

/** What all parts of one etcd store share. */
export interface EtcdContext {
  readonly client: EtcdClient
  readonly retrier: Retrier
  readonly tuning: EtcdTuning
  readonly log: Log
  readonly lastSeen: LastSeen
  readonly grants: Grants
  /** Conflicts with other hosts about our lease or our public IP, by the part that found it. */
  readonly conflicts: Map<string, string>
  /** Called when etcd has lost its data, before the answer that shows it is returned. */
  readonly onReset: Set<() => void>
  onLease: (lease: Lease) => void
  onGone: (node: string) => void
  /** `/coreos.com/network/config`. */
  readonly configKey: string
  /** `/coreos.com/network/subnets/`: the prefix of each subnet key. */
  readonly folder: string
}
