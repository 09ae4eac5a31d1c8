import type { EtcdCluster } from './cluster.ts'
import type { Log } from './common/log.ts'
import type { EtcdOptions, StoreOptions } from './options.ts'
import type { Reservations } from './reservations.ts'
import type { LeaseStore } from './store.ts'

/** Each store is loaded on demand: a node that uses etcd does not load the Kubernetes client. */
export async function openStore(options: StoreOptions, log: Log): Promise<LeaseStore> {
  switch (options.kind) {
    case 'etcd':
      return (await import('./etcd/store.ts')).openEtcdStore(options, log)
    case 'kubernetes':
      return (await import('./kubernetes/store.ts')).openKubernetesStore(options, log)
  }
}

/** How a store marks its lease cache. */
export interface LastSeenMarks {
  readonly scope: string
  /** Names of the store that the cache was written for, from its notes. Throws JsonError. */
  readonly storesOf: (notes: unknown) => readonly string[]
}

/** Throws ApiConfigError. */
export async function lastSeenMarks(options: StoreOptions): Promise<LastSeenMarks> {
  switch (options.kind) {
    case 'etcd': {
      const [{ etcdScope }, { readNotes }] = await Promise.all([
        import('./etcd/last_seen/last_seen.ts'),
        import('./etcd/last_seen/notes.ts'),
      ])
      return { scope: etcdScope(options), storesOf: notes => readNotes(notes).endpoints }
    }
    case 'kubernetes': {
      const { kubernetesScope } = await import('./kubernetes/store.ts')
      return { scope: kubernetesScope(options), storesOf: () => [] }
    }
  }
}

/** Only etcd has reservations; in Kubernetes a Node's podCIDR is its own for good. */
export async function openReservations(options: EtcdOptions, log: Log): Promise<Reservations> {
  return (await import('./etcd/store.ts')).openEtcdStore(options, log)
}

/** The members of an etcd that agents run themselves. */
export async function openCluster(options: EtcdOptions, log: Log): Promise<EtcdCluster> {
  const { ClusterClient } = await import('./etcd/cluster.ts')
  return new ClusterClient(options, log)
}
