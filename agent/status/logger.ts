import { pino } from 'pino'
import { isUnexpected } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import { printable } from '../../lease/common/printable.ts'
import { LogBudget } from './log_budget.ts'
import { LogSink } from './log_sink.ts'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** pino's number of the level. */
const DEBUG = 20
/** Longest text, stack, list and record of one line, and how deep records lie in each other. */
const TEXT = 1_000
const STACK = 8_000
const ITEMS = 100
const DEPTH = 4

/**
 * Logs one JSON object a line to stderr, as flanneld logs there. Synchronous where that is possible, so that the last line
 * before an exit is written; without pino's transports, which are worker threads and would take the netlink addon with them.
 * Each line is bounded and printable, and so is the number of lines of one kind: what they say may be foreign.
 */
export function createLogger(level: LogLevel, fd = 2): Log {
  const sink = new LogSink(fd)
  const budget = new LogBudget()
  process.once('exit', () => sink.drain())
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: label => ({ level: label }), log: fields => boundedRecord(fields, DEPTH) },
      errorKey: 'error',
      serializers: { error: printError },
      hooks: {
        logMethod([fields, message = ''], method, number) {
          const write = (record: object, text: string) => method.apply(this, [record, printable(text, TEXT)])
          const summarise = (omitted: number, kind: string) =>
            write({ omitted }, `${omitted} more lines were left out that begin like this: ${kind}`)
          const isChatter = number <= DEBUG
          if (isChatter || budget.admits(`${number}`, message, summarise)) write(Object(fields), message)
        },
      },
    },
    sink,
  )
}

function bounded(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return printable(value, TEXT)
  if (typeof value !== 'object' || value === null || value instanceof Error) return value
  if (depth === 0) return '…'
  if (!Array.isArray(value)) return boundedRecord(value, depth)
  const items = value.slice(0, ITEMS).map(item => bounded(item, depth - 1))
  return value.length > ITEMS ? [...items, `… (${value.length} items)`] : items
}

function boundedRecord(record: object, depth: number): Record<string, unknown> {
  const fields = Object.entries(record).slice(0, ITEMS)
  return Object.fromEntries(fields.map(([key, value]) => [printable(key), bounded(value, depth - 1)]))
}

/** The message and those of its causes; the stack only where nobody expected the error. */
function printError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const cause = error.cause === undefined ? {} : { cause: bounded(printError(error.cause), DEPTH) }
  return {
    name: error.name,
    message: printable(error.message, TEXT),
    ...cause,
    ...(isUnexpected(error) ? { stack: error.stack?.slice(0, STACK) } : {}),
  }
}
