import { ExpectedError } from '../../../lease/common/errors.ts'

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const

export type LogLevel = (typeof logLevels)[number]

/** Throws ExpectedError. */
export function parseLogLevel(text: string): LogLevel {
  const level = logLevels.find(one => one === text)
  if (level === undefined)
    throw new ExpectedError(`There is no log level '${text}': it must be ${logLevels.join(', ')}`)
  return level
}
