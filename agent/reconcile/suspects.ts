/** What may be wrong: keys of entries and of our devices, and devices that may have lost entries. */
export class Suspects {
  readonly #deviceKeys: ReadonlySet<string>
  #keys = new Set<string>()
  /** Suspect because the desired state changed: a difference here is no drift. */
  readonly #touched = new Set<string>()
  #dropped = new Set<string>()
  #hasStarted = false

  constructor(deviceKeys: ReadonlySet<string>) {
    this.#deviceKeys = deviceKeys
  }

  get isEmpty(): boolean {
    return this.#keys.size + this.#dropped.size === 0
  }

  /** Whether a device may be wrong, or may have lost entries. */
  get hasDevice(): boolean {
    return this.#dropped.size > 0 || [...this.#deviceKeys].some(key => this.#keys.has(key))
  }

  has(key: string): boolean {
    return this.#keys.has(key)
  }

  /** Something else than a change of the desired state may have made this key wrong. */
  add(key: string): void {
    this.#keys.add(key)
  }

  /** The desired entry under this key may have changed. */
  touch(key: string): void {
    this.#keys.add(key)
    this.#touched.add(key)
  }

  /** The kernel may have dropped entries from this device silently. */
  addDropped(dev: string): void {
    this.#dropped.add(dev)
  }

  /** Looks at this key again in the next round; what was no drift stays none. */
  putOff(key: string): void {
    if (this.isWanted(key)) this.touch(key)
    else this.add(key)
  }

  isTouched(key: string): boolean {
    return this.#touched.has(key)
  }

  /** Whether a difference under this key is no drift. Before the first full pass none is. */
  isWanted(key: string): boolean {
    return !this.#hasStarted || this.#touched.has(key)
  }

  /** Clears our devices; returns whether one was suspect. */
  takeDevices(): boolean {
    const suspect = [...this.#deviceKeys].filter(key => this.#keys.delete(key))
    return suspect.length > 0
  }

  /** Takes out all keys but those of our devices. */
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
