/** Chance that comes out the same for the same seed. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, 1). mulberry32. */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from `from` up to and including `to`. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  chance(p: number): boolean {
    return this.next() < p
  }

  /** Throws where there is none. */
  one<T>(items: readonly T[]): T {
    const item = items[this.whole(0, items.length - 1)]
    if (item === undefined) throw new Error('Cannot draw one of nothing')
    return item
  }

  /** At most so many, each once. */
  some<T>(items: readonly T[], count: number): T[] {
    const left = [...items]
    const drawn: T[] = []
    while (drawn.length < count && left.length > 0)
      drawn.push(...left.splice(this.whole(0, left.length - 1), 1))
    return drawn
  }

  weighted<T extends { readonly weight: number }>(items: readonly T[]): T {
    let at = this.next() * items.reduce((sum, item) => sum + item.weight, 0)
    for (const item of items) {
      at -= item.weight
      if (at < 0) return item
    }
    return this.one(items)
  }
}
