/** What may be wrong: keys of entries and of our devices, and devices that may have lost entries. */
export class Suspects {
  readonly #deviceKeys: ReadonlySet<string>
  #keys = new Set<string>()
  /** Keys that are suspect because the desired state changed: a difference here is no drift. */
  readonly #touched = new Set<string>()
  #dropped = new Set<string>()
  #hasStarted = false

  constructor(deviceKeys: ReadonlySet<string>) {
    this.#deviceKeys = deviceKeys
  }

  get isEmpty(): boolean {
    return this.#keys.size + this.#dropped.size === 0
  }

  get hasDevice(): boolean {
    return this.#dropped.size > 0 || [...this.#deviceKeys].some(key => this.#keys.has(key))
  }

  has(key: string): boolean {
    return this.#keys.has(key)
  }

  /** This key may be wrong, and not because the desired state changed. */
  add(key: string): void {
    this.#keys.add(key)
  }

  /** The desired entry under this key may have changed. */
  touch(key: string): void {
    this.#keys.add(key)
    this.#touched.add(key)
  }

  /** The kernel may have dropped entries from this device without a notification. */
  addDropped(dev: string): void {
    this.#dropped.add(dev)
  }

  /** Keeps this key for the next round; a difference that was no drift stays none. */
  putOff(key: string): void {
    if (this.isExpected(key)) this.touch(key)
    else this.add(key)
  }

  isTouched(key: string): boolean {
    return this.#touched.has(key)
  }

  /** Whether a change of the desired state, or the start, explains a difference: it is no drift. */
  isExpected(key: string): boolean {
    return !this.#hasStarted || this.#touched.has(key)
  }

  /** Removes the keys of our devices; returns whether one was suspect. */
  takeDevices(): boolean {
    const suspect = [...this.#deviceKeys].filter(key => this.#keys.delete(key))
    return suspect.length > 0
  }

  /** Removes and returns all keys but those of our devices. */
  takeEntries(): ReadonlySet<string> {
    const keys = this.#keys
    this.#keys = new Set([...this.#deviceKeys].filter(key => keys.delete(key)))
    return keys
  }

  takeDropped(): readonly string[] {
    const dropped = [...this.#dropped]
    this.#dropped = new Set()
    return dropped
  }

  endRound(wasFullPass: boolean): void {
    for (const key of this.#touched) if (!this.#keys.has(key)) this.#touched.delete(key)
    if (wasFullPass) this.#hasStarted = true
  }
}
