import { runTogether } from '../../lease/common/tasks.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import { openCluster } from '../../lease/registry.ts'
import type { EmbeddedEtcdOptions, Reports } from './embedded_etcd.ts'
import { keepMembership } from './membership.ts'
import { keepSmall } from './upkeep.ts'

/** Maintains this host's etcd while it runs: keeps its data file small, and its place among the members. */
export async function maintainEtcd(
  etcd: EtcdOptions,
  place: EmbeddedEtcdOptions,
  { log, troubles }: Reports,
  signal: AbortSignal,
): Promise<void> {
  const [own = ''] = place.clientUrls
  const secured = { ...etcd, ...place.tls }
  const here = await openCluster({ ...secured, endpoints: [own] }, log)
  const cluster = await openCluster({ ...secured, endpoints: [...new Set([...etcd.endpoints, own])] }, log)
  try {
    const id = await here.until('ask the embedded etcd for its member ID', () => here.ownId(signal), signal)
    const tasks = [(all: AbortSignal) => keepSmall(here, { log, troubles }, all)]
    // Without TLS there are no other members.
    if (place.tls !== undefined) tasks.push(all => keepMembership(id, cluster, etcd, place, log, all))
    await runTogether(signal, tasks)
  } finally {
    here.close()
    cluster.close()
  }
}
