/**
 * An expected error: a full disk, a hostile peer, an impossible config. Its message tells the operator
 * enough. Every other error is a defect, and ends the process with its stack.
 */
export class ExpectedError extends Error {
  override name = 'ExpectedError'
}

/** A fault in foreign data. It has no stack trace: for that V8 would parse the source each time. */
export class DataError extends ExpectedError {
  override name = 'DataError'

  constructor(message: string, options?: ErrorOptions) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message, options)
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** Whether the error is a defect, so that its stack must be shown. */
export function isUnexpected(error: unknown): boolean {
  return !(error instanceof ExpectedError)
}

/** The message of an Error; anything else that was thrown, as text. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

export function orUndefined<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}
