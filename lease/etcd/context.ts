import type { Log } from '../log.ts'
import type { EtcdClient } from './client.ts'
import type { Patience } from './patience.ts'
import type { EtcdTuning } from './tuning.ts'

/** What every part of one etcd store works with. */
export interface EtcdContext {
  readonly client: EtcdClient
  readonly patience: Patience
  readonly tuning: EtcdTuning
  readonly log: Log
  /** `/coreos.com/network/subnets/`: what stands before each subnet key. */
  readonly folder: string
}
