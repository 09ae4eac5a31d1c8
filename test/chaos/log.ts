import type { Log } from '../../lease/common/log.ts'

export interface Logged {
  readonly at: number
  readonly agent: string
  readonly level: string
  readonly message: string
}

/** A log that knows when, for reading beside the history. */
export function timedLog(agent: string, lines: Logged[]): Log {
  const to = (level: string) => (_: object, message: string) => {
    lines.push({ at: performance.now(), agent, level, message })
  }
  return { trace: () => {}, debug: to('debug'), info: to('info'), warn: to('warn'), error: to('error') }
}
