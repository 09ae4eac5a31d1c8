/** How long to leave a key alone: 0.1 s after the first attempt that did not last, doubling up to 30 s. */
export function backoffMs(attempts: number): number {
  return Math.min(100 * 2 ** (attempts - 1), 30_000)
}
