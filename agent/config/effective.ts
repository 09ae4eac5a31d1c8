import type { Env, Settings } from './flags.ts'
import type { FlagTable } from './go_flags.ts'
import { withoutUser } from './store_options.ts'

/** Variables that the agent reads and that have no flag. */
const variables = ['NODE_NAME', 'POD_NAME', 'POD_NAMESPACE', 'NOTIFY_SOCKET']

/** Values that are secret, by flag: the path of a token's file is not. */
const secrets: Readonly<Record<string, RegExp>> = { 'etcd-password': /./, join: /^(?!\/)./ }

/** Each setting by name, as `value (source)`. Passwords and tokens are masked. */
export function effectiveSettings(settings: Settings<FlagTable>, env: Env): Readonly<Record<string, string>> {
  const flags = Object.entries(settings.values).map(([name, value]) => {
    const shown = secrets[name]?.test(`${value}`) ? '***' : withoutUser(`${value}`)
    return [name, `${shown} (${settings.sources.get(name) ?? 'default'})`.trimStart()]
  })
  const given = variables.flatMap(name => (env[name] ? [[name, `${env[name]} (variable)`]] : []))
  return Object.fromEntries([...flags, ...given])
}
