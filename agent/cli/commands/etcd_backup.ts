import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { EtcdCluster } from '../../../lease/cluster.ts'
import { messageOf } from '../../../lease/common/errors.ts'
import { silentLog } from '../../../lease/common/log.ts'
import { replaceFile } from '../../../lease/common/replace_file.ts'
import { shellQuote } from '../../../lease/common/shell_quote.ts'
import type { EtcdOptions } from '../../../lease/options.ts'
import { openCluster } from '../../../lease/registry.ts'
import { FlagError, seconds } from '../../config/go_flags.ts'
import { etcdOfToken } from '../../config/store_options.ts'
import { type CommandContext, command } from '../definition/command.ts'
import { StoreUnreachableError } from '../source/store_unreachable.ts'
import { etcdDirFlag } from './etcd_leave.ts'

const flags = { ...etcdDirFlag, timeout: seconds(600, 1, 'seconds that the backup may take') }

/** `twill etcd-backup FILE`: all of etcd as one file that only its owner can read, whole or not at all. */
export const etcdBackup = command(
  { flags, readsStore: true, operands: ['<FILE>'] },
  async ({ 'embedded-etcd-dir': dataDir, timeout }, context) => {
    const file = resolve(context.operands[0] ?? '')
    const signal = AbortSignal.timeout(timeout * 1000)
    const cluster = await firstThatAnswers(etcdOptions(dataDir, context), signal)
    try {
      await replaceFile(file, cluster.snapshot(signal), 0o600)
    } finally {
      cluster.close()
    }
    const restore = [
      `ETCDCTL_API=3 ${shellQuote('etcdctl', 'snapshot', 'restore', file, `--data-dir=${dataDir}.new`)}`,
      shellQuote('mv', `${dataDir}.new/member`, `${dataDir}/member`),
    ].join(' && ')
    context.out.write(
      `${file} holds all of etcd. To restore it in ${dataDir}, with the agent stopped and ${dataDir}/member moved away:\n  ${restore}\n`,
    )
    return 0
  },
)

function etcdOptions(dataDir: string, context: CommandContext): EtcdOptions {
  const token = join(dataDir, 'join-token')
  if (!context.namesStore && existsSync(token)) return etcdOfToken(token)
  const store = context.store()
  if (store.kind === 'etcd') return store
  throw new FlagError('--kube-subnet-mgr: only etcd can be backed up')
}

async function firstThatAnswers(options: EtcdOptions, signal: AbortSignal): Promise<EtcdCluster> {
  const troubles: string[] = []
  for (const endpoint of options.endpoints) {
    const cluster = await openCluster({ ...options, endpoints: [endpoint] }, silentLog)
    try {
      await cluster.state(signal)
      return cluster
    } catch (error) {
      cluster.close()
      troubles.push(messageOf(error))
    }
  }
  throw new StoreUnreachableError(`Cannot back up etcd: ${troubles.join('; ')}`)
}
