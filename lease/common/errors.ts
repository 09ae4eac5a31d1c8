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

/**
 * What a host runs out of and may have again soon: file descriptors, memory, room on a disk, processes, socket buffers.
 * errno(3), with which call fails so: EMFILE and ENFILE open(2), ENOMEM and EAGAIN fork(2), ENOSPC, EDQUOT and EFBIG write(2),
 * ENOBUFS send(2).
 */
const scarce = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'ENOSPC', 'EDQUOT', 'EFBIG', 'ENOBUFS'])

/** Whether the host has run out of something, by the error's code or that of its causes: to be tried again. */
export function isScarcity(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const isItself = 'code' in error && typeof error.code === 'string' && scarce.has(error.code)
  return isItself || isScarcity(error.cause)
}
