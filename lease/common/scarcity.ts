import type { Log } from './log.ts'
import { Retrier } from './retry.ts'

/**
 * Resources that a host runs out of for a while: file descriptors, memory, disk space, processes, socket
 * buffers. Which calls fail so (errno(3)): EMFILE and ENFILE open(2), ENOMEM and EAGAIN fork(2), ENOSPC,
 * EDQUOT and EFBIG write(2), ENOBUFS send(2).
 */
const scarce = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'ENOSPC', 'EDQUOT', 'EFBIG', 'ENOBUFS'])

/** Whether the error, or one of its causes, says that the host ran out of a resource: a later try can succeed. */
export function isScarcity(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const isItself = 'code' in error && typeof error.code === 'string' && scarce.has(error.code)
  return isItself || isScarcity(error.cause)
}

/** Retries what failed because the host ran out of a resource; any other error is thrown at once. */
export function scarcityRetrier(log: Log): Retrier {
  return new Retrier({
    minMs: 100,
    maxMs: 1_000,
    away: { failures: Number.POSITIVE_INFINITY, afterMs: Number.POSITIVE_INFINITY },
    isTrouble: isScarcity,
    sayAfterMs: 0,
    random: Math.random,
    now: () => performance.now(),
    log,
  })
}
