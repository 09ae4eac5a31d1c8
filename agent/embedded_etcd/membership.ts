import type { ClusterMember, EtcdCluster } from '../../lease/cluster.ts'
import type { Log } from '../../lease/common/log.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import { writeToken } from './credentials.ts'
import { EmbeddedEtcdError, type EmbeddedEtcdOptions } from './embedded_etcd.ts'

const CHECK_MS = 20_000
/** A member that lags behind does not know a new member at once. */
const RETRY_MS = 1_000
const MAX_READS = 10

/** This host's vote and address in the cluster, and the addresses of all members in the join token. */
export async function keepMembership(
  id: string,
  cluster: EtcdCluster,
  etcd: EtcdOptions,
  place: EmbeddedEtcdOptions,
  log: Log,
  signal: AbortSignal,
): Promise<never> {
  const reported = new ReportOnce()
  for (;;) {
    await updateOwnMember(cluster, id, place, signal)
    const members = await membersOf(cluster, signal)
    await writeMembers(etcd, place, members)
    logMembers(members, reported, log)
    await sleep(CHECK_MS, signal)
  }
}

async function updateOwnMember(
  cluster: EtcdCluster,
  id: string,
  place: EmbeddedEtcdOptions,
  signal: AbortSignal,
) {
  const { peerUrl, dataDir } = place
  const self = await findSelf(cluster, id, signal)
  if (self === undefined)
    throw new EmbeddedEtcdError(
      `The etcd cluster does not know this host as a member: ${dataDir}/member holds the data of another cluster, or of a member ` +
        'that was removed. Move it away and start again',
    )
  if (!self.peerUrls.includes(peerUrl))
    await cluster.until('update our address in etcd', () => cluster.movePeer(id, peerUrl, signal), signal)
  if (self.isLearner) await cluster.until('vote in etcd', () => cluster.promote(id, signal), signal)
}

async function findSelf(cluster: EtcdCluster, id: string, signal: AbortSignal) {
  for (let read = 1; read <= MAX_READS; read++) {
    const self = (await membersOf(cluster, signal)).find(member => member.id === id)
    if (self !== undefined) return self
    await sleep(RETRY_MS, signal)
  }
  return undefined
}

function membersOf(cluster: EtcdCluster, signal: AbortSignal): Promise<readonly ClusterMember[]> {
  return cluster.until('list etcd members', () => cluster.members(signal), signal)
}

async function writeMembers(
  { prefix }: EtcdOptions,
  { dataDir, tls }: EmbeddedEtcdOptions,
  members: readonly ClusterMember[],
): Promise<void> {
  const endpoints = members.filter(({ isLearner }) => !isLearner).flatMap(({ clientUrls }) => clientUrls)
  if (tls === undefined || endpoints.length === 0) return
  await writeToken(dataDir, { endpoints, prefix, secret: tls.joinSecret })
}

/** Two members are worse than one: etcd writes only while more than half of its members run. */
function logMembers(members: readonly ClusterMember[], reported: ReportOnce, log: Log): void {
  const urls = members.flatMap(({ clientUrls }) => clientUrls)
  if (members.length === 1 || !reported.isNew('members', urls.join(' '))) return
  const spare = Math.ceil(members.length / 2) - 1
  if (spare === 0)
    log.warn({ members: urls }, 'etcd has 2 members and needs both: let a third host join with --member')
  else log.info({ members: urls }, `etcd has ${members.length} members and can lose ${spare}`)
}
