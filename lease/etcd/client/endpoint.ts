/** Without the path: flanneld's users write `http://host:2379/`, and gRPC accepts no path. */
export function normalEndpoint(endpoint: string): string {
  return endpoint.trim().replace(/\/+$/, '')
}

/** Endpoints to try one after the other, in random order, so that many nodes spread over them. */
export class Endpoints {
  readonly #given: readonly string[]
  readonly #random: () => number
  all: readonly string[]
  #at = 0

  constructor(given: readonly string[], random: () => number) {
    this.#given = given.map(normalEndpoint)
    this.#random = random
    this.all = shuffled(this.#given, random)
  }

  get current(): string {
    return this.all[this.#at] ?? ''
  }

  next(): void {
    this.#at = (this.#at + 1) % this.all.length
  }

  /** Adds endpoints of the same cluster; removes learned ones that this list lacks, but not the current. */
  learn(endpoints: readonly string[]): void {
    const { current } = this
    const named = endpoints.map(normalEndpoint)
    const stays = new Set([...this.#given, ...named, current])
    const kept = this.all.filter(one => stays.has(one))
    const found = named.filter(one => !kept.includes(one))
    this.all = [...kept, ...shuffled(found, this.#random)]
    this.#at = kept.indexOf(current)
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map(item => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
