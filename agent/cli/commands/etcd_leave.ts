import { join } from 'node:path'
import type { ClusterMember, EtcdCluster } from '../../../lease/cluster.ts'
import { ExpectedError } from '../../../lease/common/errors.ts'
import { silentLog } from '../../../lease/common/log.ts'
import type { EtcdOptions } from '../../../lease/options.ts'
import { openCluster } from '../../../lease/registry.ts'
import { int, string } from '../../config/go_flags.ts'
import { parseStoreOptions } from '../../config/store_options.ts'
import { command } from '../definition/command.ts'

const flags = {
  'embedded-etcd-dir': string(
    '/var/lib/twill/etcd',
    "the agent's --embedded-etcd-dir, whose join token is used",
  ),
  timeout: int(30, 'seconds that it may take'),
}

/** This host runs no member, or the only one. */
class NoOtherMemberError extends ExpectedError {
  override name = 'NoOtherMemberError'
}

/** `twill etcd-leave`: removes this host's member from etcd; its process ends. */
export const etcdLeave = command(
  { flags, readsStore: false },
  async ({ 'embedded-etcd-dir': dataDir, timeout }, { out }) => {
    const signal = AbortSignal.timeout(timeout * 1000)
    const { id, others } = await memberHere(dataDir, signal)
    const endpoints = others.flatMap(({ isLearner, clientUrls }) =>
      isLearner ? [] : clientUrls.filter(isForOthers),
    )
    if (endpoints.length === 0)
      throw new NoOtherMemberError(
        'This host runs the only member of etcd: without it no other host has the leases',
      )
    await withCluster(dataDir, endpoints, cluster => cluster.remove(id, signal))
    out.write('The member of this host has left etcd\n')
    return 0
  },
)

/** The id of this host's member, and the other members. Rejects if no member answers on this host. */
export async function memberHere(
  dataDir: string,
  signal: AbortSignal,
): Promise<{ readonly id: string; readonly others: readonly ClusterMember[] }> {
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
  const store = parseStoreOptions([`--join=${join(dataDir, 'join-token')}`], {}).store as EtcdOptions
  const own = [`https://127.0.0.1:${new URL(store.endpoints[0] ?? '').port}`]
  const cluster = await openCluster({ ...store, endpoints: endpoints ?? own }, silentLog)
  try {
    return await use(cluster)
  } finally {
    cluster.close()
  }
}

/** Whether other hosts can use the URL: members also publish a loopback address. */
function isForOthers(url: string): boolean {
  return new URL(url).hostname !== '127.0.0.1'
}
