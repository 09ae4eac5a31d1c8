/** How long to wait after so many attempts: `firstMs` after the first, doubling up to `longestMs`. */
export function backoffMs(attempts: number, longestMs = 30_000, firstMs = 100): number {
  return Math.min(firstMs * 2 ** (attempts - 1), longestMs)
}
