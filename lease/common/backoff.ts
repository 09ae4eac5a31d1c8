/** How long to leave a key alone: 0.1 s after the first attempt that did not last, doubling up to `longestMs`. */
export function backoffMs(attempts: number, longestMs = 30_000): number {
  return Math.min(100 * 2 ** (attempts - 1), longestMs)
}
