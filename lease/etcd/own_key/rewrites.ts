import { printJson } from '../../json/json.ts'
import type { EtcdContext } from '../records/context.ts'
import type { Record } from '../records/record.ts'
import { describeLease } from './describe.ts'

const CONFLICT = 'rewritten'
/** Writes within this many check intervals count as one conflict. */
const CHECKS = 5

/** Counts writes to our key by another program. Each is repaired; repeated ones are a conflict. */
export class Rewrites {
  readonly #ctx: EtcdContext
  #times: readonly number[] = []

  constructor(ctx: EtcdContext) {
    this.#ctx = ctx
  }

  saw({ kv: { key, value }, lease }: Record): void {
    const { log, tuning, conflicts } = this.#ctx
    this.#times = [...this.#recent(), tuning.clock.now()].slice(-100)
    const count = this.#times.length
    const seconds = Math.ceil((tuning.clock.now() - (this.#times[0] ?? 0)) / 1000)
    const again = count > 1 ? `, ${count} times in the last ${seconds} s` : ''
    const text =
      `${key} was rewritten by another program${again}, last as ${lease ? describeLease(lease) : printJson(value)}: look for a second agent on this host, or ` +
      'for another host with our public IP or a copy of our files'
    conflicts.set(CONFLICT, text)
    if (count <= 2) log.warn({ key, value }, text)
  }

  isAsWritten(): void {
    if (this.#recent().length < 2) this.#ctx.conflicts.delete(CONFLICT)
  }

  over(): void {
    this.#ctx.conflicts.delete(CONFLICT)
  }

  #recent(): readonly number[] {
    const { clock, checkMs } = this.#ctx.tuning
    return this.#times.filter(at => clock.now() - at < CHECKS * checkMs)
  }
}
