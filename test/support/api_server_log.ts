import type { Log } from '../../lease/common/log.ts'

/** Keeps log lines as `warn: message`. Debug lines are dropped, trace lines go to `traced`. */
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
