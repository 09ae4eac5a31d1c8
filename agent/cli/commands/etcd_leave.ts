import { join } from 'node:path'
import type { EtcdCluster } from '../../../lease/cluster.ts'
import { ExpectedError } from '../../../lease/common/errors.ts'
import { silentLog } from '../../../lease/common/log.ts'
import { openCluster } from '../../../lease/registry.ts'
import { agentPath } from '../../config/flags.ts'
import { seconds } from '../../config/go_flags.ts'
import { etcdOfToken } from '../../config/store_options.ts'
import { command } from '../definition/command.ts'

export const etcdDirFlag = {
  'embedded-etcd-dir': agentPath('embedded-etcd-dir', ', whose join token is used'),
}
const flags = { ...etcdDirFlag, timeout: seconds(30, 1, 'seconds that it may take') }

/** `twill etcd-leave`: removes this host's member from etcd; its process ends. */
export const etcdLeave = command(
  { flags, readsStore: false },
  async ({ 'embedded-etcd-dir': dataDir, timeout }, { out }) => {
    const signal = AbortSignal.timeout(timeout * 1000)
    const { id, others } = await memberHere(dataDir, signal)
    const urls = others.filter(({ isLearner }) => !isLearner).flatMap(({ clientUrls }) => clientUrls)
    // Members also publish a loopback address.
    const endpoints = urls.filter(url => new URL(url).hostname !== '127.0.0.1')
    if (endpoints.length === 0)
      throw new ExpectedError(
        'This host runs the only member of etcd: without it no other host has the leases',
      )
    await withCluster(dataDir, endpoints, cluster => cluster.remove(id, signal))
    out.write('The member of this host has left etcd\n')
    return 0
  },
)

/** The id of this host's member, and the other members. Rejects if no member answers on this host. */
export async function memberHere(dataDir: string, signal: AbortSignal) {
  return await withCluster(dataDir, undefined, async cluster => {
    const id = await cluster.ownId(signal)
    return { id, others: (await cluster.members(signal)).filter(member => member.id !== id) }
  })
}

async function withCluster<T>(
  dataDir: string,
  endpoints: readonly string[] | undefined,
  use: (cluster: EtcdCluster) => Promise<T>,
): Promise<T> {
  const store = etcdOfToken(join(dataDir, 'join-token'))
  const own = [`https://127.0.0.1:${new URL(store.endpoints[0] ?? '').port}`]
  const cluster = await openCluster({ ...store, endpoints: endpoints ?? own }, silentLog)
  try {
    return await use(cluster)
  } finally {
    cluster.close()
  }
}
