/** How a log line is written: one JSON object, or text for a person. */
export type LogFormat = 'json' | 'text'

/** Where log lines go, and their format. */
export interface LogStyle {
  readonly format: LogFormat
  /** journald takes a line's priority from `<N>` at its start (sd-daemon(3)), and does not store it. */
  readonly journal: boolean
}

/** syslog(3): LOG_ERR 3, LOG_WARNING 4, LOG_INFO 6, LOG_DEBUG 7. */
const priorities: Readonly<Record<string, number>> = { error: 3, warn: 4, info: 6, debug: 7, trace: 7 }

/** Fields with a place of their own in a text line, not as `name=value`. */
const shown = new Set(['level', 'time', 'msg'])

/** Formats one line of pino's JSON; both end with a newline. */
export function formatLine(json: string, { format, journal }: LogStyle): string {
  if (format === 'json' && !journal) return json
  const record = JSON.parse(json) as Readonly<Record<string, unknown>>
  const level = `${record.level}`
  const priority = journal ? `<${priorities[level] ?? 6}>` : ''
  if (format === 'json') return priority + json
  // journald stores time and level itself.
  const head = journal ? '' : `${record.time} ${level.toUpperCase().padEnd(5)} `
  const fields = Object.entries(record).filter(([name]) => !shown.has(name))
  const words = [`${record.msg}`, ...fields.map(([name, value]) => `${name}=${printField(value)}`)]
  return `${priority}${head}${words.join('  ')}\n`
}

/** A plain word unchanged and any other value as JSON: it has no line break and a clear end. */
function printField(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}
