/**
 * The wait in ms after `attempts` failed attempts: `firstMs` after the first, doubled after each further one,
 * at most `longestMs`.
 */
export function backoffMs(attempts: number, longestMs = 30_000, firstMs = 100): number {
  return Math.min(firstMs * 2 ** (attempts - 1), longestMs)
}
