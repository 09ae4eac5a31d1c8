import type { Log } from '../../lease/common/log.ts'

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly fields: object
  readonly message: string
  /** performance.now() */
  readonly at: number
}

/** A log that a test reads. */
export class RecordingLog implements Log {
  readonly lines: LogLine[] = []
  /** Lines that `-v 2` adds. */
  readonly traced: { readonly fields: object; readonly message: string }[] = []

  trace(fields: object, message: string): void {
    this.traced.push({ fields, message })
  }

  debug(fields: object, message: string): void {
    this.lines.push({ level: 'debug', fields, message, at: performance.now() })
  }

  info(fields: object, message: string): void {
    this.lines.push({ level: 'info', fields, message, at: performance.now() })
  }

  warn(fields: object, message: string): void {
    this.lines.push({ level: 'warn', fields, message, at: performance.now() })
  }

  error(fields: object, message: string): void {
    this.lines.push({ level: 'error', fields, message, at: performance.now() })
  }

  /** Messages that contain the text, or match it. */
  said(text: string | RegExp): readonly string[] {
    const matches = (message: string) =>
      typeof text === 'string' ? message.includes(text) : text.test(message)
    return this.lines.map(line => line.message).filter(matches)
  }
}
