import { destination, pino } from 'pino'
import { isUnexpected } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/**
 * Logs one JSON object a line to stderr, as flanneld logs there. Synchronous, so that the last line before an exit is
 * written; without pino's transports, which are worker threads and would take the netlink addon with them.
 */
export function createLogger(level: LogLevel, fd = 2): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: label => ({ level: label }) },
      errorKey: 'error',
      serializers: { error: printError },
    },
    destination({ fd, sync: true }),
  )
}

/** The message and those of its causes; the stack only where nobody expected the error. */
function printError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const cause = error.cause === undefined ? {} : { cause: printError(error.cause) }
  return {
    name: error.name,
    message: error.message,
    ...cause,
    ...(isUnexpected(error) ? { stack: error.stack } : {}),
  }
}
