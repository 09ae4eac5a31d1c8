/** The wait in ms after `attempts` failures: `firstMs`, doubled after each further one up to `longestMs`. */
export function backoffMs(attempts: number, longestMs = 30_000, firstMs = 100): number {
  return Math.min(firstMs * 2 ** (attempts - 1), longestMs)
}

/** Between half and all of `ms`, so that many nodes do not return at once. `random`: in [0, 1). */
export function spread(ms: number, random: () => number): number {
  return ms * (1 - random() / 2)
}
