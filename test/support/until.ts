import { setTimeout as sleep } from 'node:timers/promises'

export interface UntilOptions {
  readonly withinMs?: number
  readonly everyMs?: number
  /** Called when time is up: what was found instead, for the error's message. */
  readonly otherwise?: () => string
}

/**
 * Waits for a condition that no event announces: evaluates it repeatedly until it is neither undefined nor
 * false. A condition that throws ends the wait. Rejects after 40 s by default, with the name of the
 * condition: a busy machine keeps that too.
 */
export async function until<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  { withinMs = 40_000, everyMs = 10, otherwise }: UntilOptions = {},
): Promise<T> {
  const end = performance.now() + withinMs
  for (;;) {
    const value = await condition()
    if (value !== undefined && value !== false) return value
    if (performance.now() > end) break
    await sleep(everyMs)
  }
  const instead = otherwise === undefined ? '' : `: ${otherwise()}`
  throw new Error(`Waited ${withinMs / 1000} s in vain for: ${what}${instead}`)
}
