import type { Log } from './common/log.ts'
import type { EtcdOptions, StoreOptions } from './options.ts'
import type { Reservations } from './reservations.ts'
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

/** Only etcd has reservations; in Kubernetes a Node's podCIDR is its own for good. */
export async function openReservations(options: EtcdOptions, log: Log): Promise<Reservations> {
  return (await import('./etcd/store.ts')).openEtcdStore(options, log)
}
