/** pino's shape, fields first. `agent/status/log/logger.ts` makes the real one. */
export interface Log {
  trace(fields: object, message: string): void
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export const silentLog: Log = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }
