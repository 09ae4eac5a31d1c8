import type { Verdict } from './check.ts'
import type { Violation } from './history.ts'
import type { Round } from './rounds.ts'
import type { Stage } from './stage.ts'

let startedAt = 0

export function showBeginning({ options, keys, dual, scale, promises }: Stage): void {
  startedAt = performance.now()
  const flannelds = options.flannelds === 1 ? '1 flanneld' : `${options.flannelds} flannelds`
  line(
    `chaos: seed ${options.seed}, ${options.minutes} min, ${options.agents} agents and ${flannelds} on etcd of three members`,
  )
  line(
    `${keys.length} subnets, ${dual ? 'IPv4 and IPv6' : 'IPv4'}, leases of ${scale.ttlSeconds} s, ` +
      `${promises.agreeMs / 1000} s to be right again`,
  )
  line()
}

export function showRound({ number, struck, faultMs, settledMs, trouble }: Round): void {
  const outcome =
    settledMs === undefined ? `NOT right again: ${trouble}` : `right again after ${seconds(settledMs)} s`
  line(`${`${number}`.padStart(4)}  ${time(performance.now())}  ${struck.join(', ')}`)
  line(`${' '.repeat(13)}healed after ${seconds(faultMs)} s, ${outcome}`)
}

export function showViolations(violations: readonly Violation[]): void {
  for (const { at, rule, text } of violations.slice(0, 8)) line(`FAILED  ${time(at)}  ${rule}: ${text}`)
  if (violations.length > 8) line(`        and ${violations.length - 8} more like these`)
}

/** Whether all is well. */
export function showVerdict(stage: Stage, { violations, agreements }: Verdict, rounds: number): boolean {
  const ms = agreements.map(agreement => agreement.ms).sort((a, b) => a - b)
  const count = (what: string) => stage.history.filter(event => event.what === what).length
  line()
  line(
    `${rounds} rounds, ${count('fault')} faults, ${count('put') + count('delete')} changes in etcd, ${count('acquired')} leases acquired, ${count('lost')} lost`,
  )
  line(
    `right again after a healing: p50 ${seconds(at(ms, 0.5))} s, p99 ${seconds(at(ms, 0.99))} s, at most ${seconds(at(ms, 1))} s, of ${ms.length}`,
  )
  const slow = stage.history.filter(event => event.what === 'slow')
  if (slow.length > 0)
    line(`the machine was too slow ${slow.length} times: what was wrong then could last longer`)
  const gap = stage.observer.gap
  if (gap !== undefined) line(`The history is not whole: ${gap}`)
  const rules = [...new Set(violations.map(({ rule }) => rule))]
  const well = violations.length === 0 && gap === undefined
  if (well)
    line(
      `All promises kept. Again: npm run chaos -- --seed ${stage.options.seed} --minutes ${stage.options.minutes}`,
    )
  else
    line(
      `${violations.length} promises broken (${rules.join(', ')}). Again: npm run chaos -- --seed ${stage.options.seed}`,
    )
  return well
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

function time(at: number): string {
  const total = Math.max(0, Math.round((at - startedAt) / 1000))
  return `${Math.floor(total / 60)}:${`${total % 60}`.padStart(2, '0')}`.padStart(5)
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2)
}

function line(text = ''): void {
  process.stdout.write(`${text}\n`)
}
