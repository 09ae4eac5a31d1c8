/**
 * Values by key, in the order in which they were added. Most keys have one value: only further ones are in a
 * list, because thousands of lists take memory.
 */
export class MultiMap<K, V extends NonNullable<unknown>> {
  readonly #first = new Map<K, V>()
  readonly #further = new Map<K, V[]>()

  /** The number of keys that have a value. */
  get size(): number {
    return this.#first.size
  }

  keys(): Iterable<K> {
    return this.#first.keys()
  }

  get(key: K): readonly V[] {
    const first = this.#first.get(key)
    return first === undefined ? [] : [first, ...(this.#further.get(key) ?? [])]
  }

  add(key: K, value: V): void {
    const further = this.#further.get(key)
    if (further !== undefined) further.push(value)
    else if (this.#first.has(key)) this.#further.set(key, [value])
    else this.#first.set(key, value)
  }

  /** Removes the value once. */
  delete(key: K, value: V): void {
    const further = this.#further.get(key) ?? []
    const isFirst = this.#first.get(key) === value
    const at = isFirst ? 0 : further.indexOf(value)
    const [next] = at < 0 ? [] : further.splice(at, 1)
    if (isFirst && next === undefined) this.#first.delete(key)
    else if (isFirst && next !== undefined) this.#first.set(key, next)
    if (further.length === 0) this.#further.delete(key)
  }

  clear(): void {
    this.#first.clear()
    this.#further.clear()
  }
}
