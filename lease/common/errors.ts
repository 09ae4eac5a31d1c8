/**
 * What this project throws knowing that it can happen: a full disk, a hostile peer, a config that cannot be right. The message
 * tells an operator enough. Anything else is unexpected, whoever threw it: it ends the process with its stack.
 */
export class ExpectedError extends Error {
  override name = 'ExpectedError'
}

/** Whether the stack is what is worth knowing of it. */
export function isUnexpected(error: unknown): boolean {
  return !(error instanceof ExpectedError)
}

/** What was thrown, in words: its message where it is an Error. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
