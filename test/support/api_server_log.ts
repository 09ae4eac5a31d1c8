import type { Log } from '../../lease/common/log.ts'

/** Keeps what is logged, as `warn: message`; debug is left out, trace has a list of its own. */
export class ListLog implements Log {
  readonly lines: string[] = []
  readonly traced: string[] = []

  trace(fields: object, message: string): void {
    this.traced.push(`${message} ${JSON.stringify(fields)}`)
  }

  debug(): void {}

  info(_fields: object, message: string): void {
    this.lines.push(`info: ${message}`)
  }

  warn(_fields: object, message: string): void {
    this.lines.push(`warn: ${message}`)
  }

  error(_fields: object, message: string): void {
    this.lines.push(`error: ${message}`)
  }

  matching(pattern: RegExp): string[] {
    return this.lines.filter(line => pattern.test(line))
  }
}
