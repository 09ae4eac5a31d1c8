import { fstatSync } from 'node:fs'
import { isatty } from 'node:tty'
import { pino } from 'pino'
import { isUnexpected } from '../../../lease/common/errors.ts'
import type { Log } from '../../../lease/common/log.ts'
import { printable } from '../../../lease/common/printable.ts'
import { LONGEST_LOGIN, withoutLogins } from '../../../lease/common/url_logins.ts'
import { LogBudget } from './log_budget.ts'
import { formatLine, type LogFormat } from './log_format.ts'
import type { LogLevel } from './log_level.ts'
import { LogSink } from './log_sink.ts'

/** pino's number of the level. */
const DEBUG = 20
/** Longest text, stack, list and record of one line, and how deep records may nest. */
const TEXT = 1_000
const STACK = 8_000
const ITEMS = 100
const DEPTH = 4

/** A log with a level that can be changed while it runs. */
export interface LeveledLog extends Log {
  level: LogLevel
}

export interface LoggerOptions {
  readonly level: LogLevel
  /** Undefined: text on a terminal, JSON elsewhere. */
  readonly format?: LogFormat | undefined
  /** JOURNAL_STREAM, which systemd sets to the device and inode of the socket that leads to journald. */
  readonly journalStream?: string | undefined
  readonly fd?: number
}

/**
 * Logs one line for each record to stderr, as flanneld does. Writes synchronously where possible, so that the
 * last line before an exit is not lost. Does not use pino's transports: the netlink addon cannot live in
 * their worker threads. Each line is bounded and printable, and so is the number of lines of one kind: their
 * text may be foreign.
 */
export function createLogger({ level, format, journalStream, fd = 2 }: LoggerOptions): LeveledLog {
  const sink = new LogSink(fd)
  const style = { format: format ?? (isatty(fd) ? 'text' : 'json'), journal: isJournal(fd, journalStream) }
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
          const write = (record: object, text: string) => method.apply(this, [record, shown(text)])
          const summarise = (omitted: number, kinds: string) =>
            write({ omitted }, `${omitted} more lines were left out: ${kinds}`)
          const isChatter = number <= DEBUG
          if (isChatter || budget.admits(`${number}`, message, summarise)) write(Object(fields), message)
        },
      },
    },
    { write: (line: string) => sink.write(formatLine(line, style)) },
  ) as pino.Logger & LeveledLog
}

/** A child process inherits the variable (systemd.exec(5)), and may have another descriptor. */
function isJournal(fd: number, journalStream = ''): boolean {
  const { dev, ino } = fstatSync(fd)
  return journalStream === `${dev}:${ino}`
}

/** Without passwords: a library's error may contain the URL that it was given. */
function shown(text: string): string {
  return printable(masked(text, TEXT), TEXT)
}

/** For a text that is then cut after `most`: a login that is cut first has no `@`, and cannot be found. */
function masked(text: string, most: number): string {
  const end = most + LONGEST_LOGIN
  return withoutLogins(text.slice(0, end), '***@') + text.slice(end)
}

function bounded(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return shown(value)
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

/** The error's message and those of its causes, unless repeated; the stack only for unexpected errors. */
function printError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const cause = printCause(error)
  return {
    name: error.name,
    message: shown(error.message),
    ...(cause === undefined ? {} : { cause: bounded(cause, DEPTH) }),
    ...(isUnexpected(error) ? { stack: masked(`${error.stack}`, STACK).slice(0, STACK) } : {}),
  }
}

/** Without the part that the error's message repeats. */
function printCause({ message, cause }: Error): unknown {
  if (!(cause instanceof Error)) return cause
  if (message.includes(cause.message)) return undefined
  const acts = message.split(': ')
  const words = cause.message.split(': ').filter((word, i) => word !== acts[i])
  return { ...Object(printError(cause)), message: shown(words.join(': ')) }
}
