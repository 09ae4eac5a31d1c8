/** The wait in ms after `attempts` failures: `firstMs`, doubled after each further one up to `longestMs`. */
export function backoffMs(attempts: number, longestMs = 30_000, firstMs = 100): number {
  return Math.min(firstMs * 2 ** (attempts - 1), longestMs)
}
