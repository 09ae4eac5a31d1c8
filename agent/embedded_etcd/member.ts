import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Log } from '../../lease/common/log.ts'
import { runTogether } from '../../lease/common/tasks.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import { openCluster } from '../../lease/registry.ts'
import { type EmbeddedEtcdOptions, withEmbeddedEtcd } from './embedded_etcd.ts'
import { maintainEtcd } from './maintain_etcd.ts'
import { type HostOptions, preparePlace } from './place.ts'

/** Of three members, any one may be lost. A member starts as a learner, and votes once it has the data. */
export async function runAsMember(host: HostOptions, signal: AbortSignal): Promise<void> {
  const { etcd, log, run } = host
  const place = await preparePlace(host, signal)
  const isMember = existsSync(join(place.dataDir, 'member'))
  const joined = isMember ? place : { ...place, cluster: await joinCluster(etcd, place, log, signal) }
  // A member that restarts can serve its own agent while the others cannot be reached.
  const endpoints = isMember ? [...etcd.endpoints, ...place.clientUrls.slice(0, 1)] : etcd.endpoints
  const tasks = [
    (all: AbortSignal) => run({ ...etcd, endpoints }, async () => {}, all),
    (all: AbortSignal) => maintainEtcd(etcd, place, host, all),
  ]
  await withEmbeddedEtcd(joined, host, signal, all => runTogether(all, tasks))
}

/** All members, as --initial-cluster has them. First removes a member with our address: it lost its data. */
async function joinCluster(
  etcd: EtcdOptions,
  { peerUrl, name }: EmbeddedEtcdOptions,
  log: Log,
  signal: AbortSignal,
): Promise<string> {
  const cluster = await openCluster(etcd, log)
  const once = async () => {
    for (const { id, peerUrls } of await cluster.members(signal))
      if (peerUrls.includes(peerUrl)) await cluster.remove(id, signal)
    const members = await cluster.addLearner(peerUrl, signal)
    return members.flatMap(one => one.peerUrls.map(url => `${one.name || name}=${url}`)).join(',')
  }
  try {
    return await cluster.until('become an etcd member', once, signal)
  } finally {
    cluster.close()
  }
}
