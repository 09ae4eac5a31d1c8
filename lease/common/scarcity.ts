import type { Log } from './log.ts'
import { Retrier } from './retry.ts'

/**
 * A host has run out of a resource for a while (errno(3)): descriptors (EMFILE, ENFILE), memory and processes
 * (ENOMEM, EAGAIN), disk space (ENOSPC, EDQUOT, EFBIG), socket buffers (ENOBUFS).
 */
const scarce = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'ENOSPC', 'EDQUOT', 'EFBIG', 'ENOBUFS'])

/** Whether the error or a cause says that the host ran out of a resource: a later try can succeed. */
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
