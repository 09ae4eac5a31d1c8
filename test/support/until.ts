import { setTimeout as sleep } from 'node:timers/promises'

export interface UntilOptions {
  readonly withinMs?: number
  readonly everyMs?: number
  /** Asked when time is up: what stood there instead, for the error's message. */
  readonly otherwise?: () => string
}

/**
 * Waits for a condition that nothing announces: asks again and again until it gives something else than undefined or
 * false. A condition that throws ends the wait. Rejects, naming what was waited for, after 40 s unless told otherwise: a
 * machine that is busy with other work keeps that too.
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
