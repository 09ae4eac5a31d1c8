import type { Env, Settings } from './flags.ts'
import type { FlagTable } from './go_flags.ts'

interface WithoutEffect {
  /** A flag, or a variable in capitals. */
  readonly name: string
  /** `note`: nothing is lost; `warning`: an operator may rely on it. */
  readonly says: 'warning' | 'note'
  readonly why: string
  /** Values that request nothing: those of flannel's own manifest. */
  readonly silent?: RegExp
}

/** flanneld's settings that are accepted without effect, and logged if an operator may rely on them. */
const withoutEffect: readonly WithoutEffect[] = [
  { name: 'vmodule', says: 'note', why: 'the log has levels, -v, but none by source file' },
  { name: 'log_backtrace_at', says: 'note', why: 'stacks are logged with unexpected errors only' },
  { name: 'WIREGUARD_KEY_FILE', says: 'warning', why: 'there is no WireGuard backend' },
  { name: 'EVENT_QUEUE_DEPTH', says: 'note', why: 'changes are folded, there is no queue', silent: /^\d+$/ },
  {
    name: 'CONT_WHEN_CACHE_NOT_READY',
    says: 'note',
    why: 'the agent waits for the API as long as it takes, and forwards meanwhile',
    silent: /^false$/i,
  },
]

/** One sentence for each given setting without effect. */
export function settingsWithoutEffect(
  settings: Settings<FlagTable>,
  env: Env,
): { readonly warnings: readonly string[]; readonly notes: readonly string[] } {
  const isMade = ({ name, silent }: WithoutEffect) => {
    const value = settings.values[name]
    if (value === undefined) return (env[name] ?? '') !== '' && !silent?.test(env[name] ?? '')
    return value === true || (settings.sources.has(name) && value !== false)
  }
  const made = withoutEffect.filter(isMade)
  const print = ({ name, why }: WithoutEffect) =>
    `${name === name.toUpperCase() ? name : `--${name}`} has no effect: ${why}`
  return {
    warnings: made.filter(({ says }) => says === 'warning').map(print),
    notes: made.filter(({ says }) => says === 'note').map(print),
  }
}
