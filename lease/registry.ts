import type { Log } from './log.ts'
import type { StoreOptions } from './options.ts'
import type { LeaseStore } from './store.ts'

/** One line a store. Loaded on demand: a node that uses etcd never pays for the Kubernetes client, nor the reverse. */
export async function openStore(options: StoreOptions, log: Log): Promise<LeaseStore> {
  switch (options.kind) {
    case 'etcd':
      return (await import('./etcd/store.ts')).openEtcdStore(options, log)
    case 'kubernetes':
      return (await import('./kubernetes/store.ts')).openKubernetesStore(options, log)
  }
}
