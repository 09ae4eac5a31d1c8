import type { Env, Settings } from './flags.ts'
import type { FlagTable } from './go_flags.ts'

/** Variables without a flag that are read. */
const variables = ['NODE_NAME', 'POD_NAME', 'POD_NAMESPACE', 'NOTIFY_SOCKET']

const secrets = new Set(['etcd-password'])

/** Each setting by name, as `value (where it came from)`. A password is masked. */
export function effectiveSettings(settings: Settings<FlagTable>, env: Env): Readonly<Record<string, string>> {
  const flags = Object.entries(settings.values).map(([name, value]) => {
    const shown = secrets.has(name) && value !== '' ? '***' : `${value}`
    return [name, `${shown} (${settings.sources.get(name) ?? 'default'})`.trimStart()]
  })
  const given = variables.flatMap(name => (env[name] ? [[name, `${env[name]} (variable)`]] : []))
  return Object.fromEntries([...flags, ...given])
}
