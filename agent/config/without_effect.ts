import type { Env, Settings } from './flags.ts'
import type { FlagTable } from './go_flags.ts'

interface WithoutEffect {
  /** A flag, or a variable in capitals. */
  readonly name: string
  /** `note`: nothing is lost; `warning`: an operator may rely on it. */
  readonly says: 'warning' | 'note'
  readonly why: string
  /** Values that request nothing and are not logged: those of flannel's own manifest. */
  readonly harmless?: RegExp
}

/** flanneld's settings that are accepted without effect, and logged if an operator may rely on them. */
const withoutEffect: readonly WithoutEffect[] = [
  { name: 'vmodule', says: 'note', why: 'the log has levels, -v, but none by source file' },
  { name: 'log_backtrace_at', says: 'note', why: 'stacks are logged with unexpected errors only' },
  { name: 'WIREGUARD_KEY_FILE', says: 'warning', why: 'there is no WireGuard backend' },
  {
    name: 'EVENT_QUEUE_DEPTH',
    says: 'note',
    why: 'changes are folded, there is no queue',
    harmless: /^\d+$/,
  },
  {
    name: 'CONT_WHEN_CACHE_NOT_READY',
    says: 'note',
    why: 'the agent waits for the API as long as it takes, and forwards meanwhile',
    harmless: /^false$/i,
  },
]

export function settingsWithoutEffect(
  settings: Settings<FlagTable>,
  env: Env,
): { readonly warnings: readonly string[]; readonly notes: readonly string[] } {
  const isGiven = ({ name, harmless }: WithoutEffect) => {
    const value = settings.values[name]
    if (value === undefined) return (env[name] ?? '') !== '' && !harmless?.test(env[name] ?? '')
    return value === true || (settings.sources.has(name) && value !== false)
  }
  const given = withoutEffect.filter(isGiven)
  const print = ({ name, why }: WithoutEffect) =>
    `${name === name.toUpperCase() ? name : `--${name}`} has no effect: ${why}`
  return {
    warnings: given.filter(({ says }) => says === 'warning').map(print),
    notes: given.filter(({ says }) => says === 'note').map(print),
  }
}
