import type { Log } from '../../lease/common/log.ts'
import type { EtcdTuning } from '../../lease/etcd/client/tuning.ts'
import { type EtcdLeaseStore, openEtcdStore } from '../../lease/etcd/store.ts'
import type { EtcdOptions } from '../../lease/options.ts'

/** `calls`: requests to etcd so far, failed ones included. */
export type CountedStore = EtcdLeaseStore & { readonly calls: number }

/** A store as `openEtcdStore` makes it, whose requests are counted: each is a trace line of its log. */
export function openCountedStore(
  options: EtcdOptions,
  log: Log,
  tuning: Partial<EtcdTuning> = {},
): CountedStore {
  let calls = 0
  const counting: Log = {
    trace(fields, message) {
      if (message.startsWith('asked etcd: ')) calls++
      log.trace(fields, message)
    },
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
  }
  const store = openEtcdStore(options, counting, tuning)
  return Object.defineProperty(store, 'calls', { get: () => calls }) as CountedStore
}
