import type { Env, Settings } from './flags.ts'
import type { FlagTable } from './go_flags.ts'

interface WithoutEffect {
  /** A flag, or a variable in capitals. */
  readonly name: string
  readonly does: 'nothing yet' | 'nothing needed'
  readonly why: string
}

/**
 * What flanneld reads and this agent accepts without doing anything: never in silence, so that nobody believes in a
 * setting that is not there. A row goes when its effect comes.
 */
const withoutEffect: readonly WithoutEffect[] = [
  { name: 'ip-blackhole-route', does: 'nothing yet', why: 'no blackhole route is added' },
  { name: 'vmodule', does: 'nothing yet', why: 'the log has one level, -v' },
  { name: 'log_backtrace_at', does: 'nothing yet', why: 'stacks are logged with unexpected errors only' },
  { name: 'WIREGUARD_KEY_FILE', does: 'nothing yet', why: 'there is no WireGuard backend' },
  { name: 'EVENT_QUEUE_DEPTH', does: 'nothing needed', why: 'changes are folded, there is no queue' },
  {
    name: 'CONT_WHEN_CACHE_NOT_READY',
    does: 'nothing needed',
    why: 'the agent waits for the API as long as it takes',
  },
]

/** One sentence for each setting that is on or was made, and does nothing. */
export function settingsWithoutEffect(settings: Settings<FlagTable>, env: Env): readonly string[] {
  const isMade = ({ name }: WithoutEffect) => {
    const value = settings.values[name]
    if (value === undefined) return (env[name] ?? '') !== ''
    return value === true || (settings.set.has(name) && value !== false)
  }
  return withoutEffect.filter(isMade).map(({ name, does, why }) => {
    const shown = name === name.toUpperCase() ? name : `--${name}`
    return `${shown} does nothing${does === 'nothing yet' ? ' yet' : ', and nothing is needed'}: ${why}`
  })
}
