const builtIn = new Set([
  'Error',
  'TypeError',
  'RangeError',
  'ReferenceError',
  'SyntaxError',
  'AggregateError',
])

/**
 * Whether nobody meant to throw this: an error of the language or the runtime, not of one of this project's classes, whose
 * message tells an operator enough. Its stack is what is worth knowing.
 */
export function isUnexpected(error: unknown): boolean {
  return !(error instanceof Error) || builtIn.has(error.name)
}
