import { type AgentConfig, parseCommandLine } from '../../config/config.ts'
import { allFlags, type Env, readSettings } from '../../config/flags.ts'
import { ConfigError } from '../../config/values.ts'
import type { AskedFor } from './install_wish.ts'

/**
 * The service's settings by its flags and variables, which must name the store. Throws ConfigError,
 * FlagError.
 */
export async function serviceConfig({ judged }: Pick<AskedFor, 'judged'>, env: Env): Promise<AgentConfig> {
  const command = await parseCommandLine(judged, env)
  if (command.asks !== 'run') throw new ConfigError('Neither --help nor --version is for a service')
  const { values, sources } = readSettings(allFlags, judged, env)
  const isNamed = values['embedded-etcd'] || values['kube-subnet-mgr'] || values.join !== ''
  if (isNamed || sources.has('etcd-endpoints')) return command.config
  throw new ConfigError(
    'Say where the leases are: --first-host, --join=TOKEN or --etcd-endpoints=http://ADDRESS:2379',
  )
}
