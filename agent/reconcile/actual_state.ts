import type { Kernel, Look } from '../kernel/kernel.ts'
import type { EntryMap } from '../state/diff.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import { entryDevice, entryKey, printsSame } from '../state/print.ts'

/** The entries on devices by the last snapshot, the operations applied since, and the notifications. */
export class ActualState {
  readonly #desired: EntryMap
  #entries = new Map<string, Entry>()
  /** Notifications during a snapshot or an apply, newer than its answer; undefined while neither runs. */
  #newer: Map<string, Entry | undefined> | undefined
  /** The fingerprint of the last look; undefined where the known entries have changed since. */
  #fingerprint: string | undefined

  constructor(desired: EntryMap) {
    this.#desired = desired
  }

  get entries(): EntryMap {
    return this.#entries
  }

  isRight(key: string): boolean {
    return this.#entries.get(key) === this.#desired.get(key)
  }

  /** Runs in each pass, so it compares each entry only once where none differs. */
  wrongKeys(): Set<string> {
    const wrong = new Set<string>()
    let missing = this.#desired.size
    this.#entries.forEach((entry, key) => {
      const want = this.#desired.get(key)
      if (want !== undefined) missing -= 1
      if (want === entry) return
      // The desired entry may have been replaced by an equal object.
      this.#set(key, entry)
      if (!this.isRight(key)) wrong.add(key)
    })
    // `#entries` holds no devices.
    for (const [key, { kind }] of this.#desired) {
      if (missing === 0) break
      if (this.#entries.has(key)) continue
      missing -= 1
      if (kind !== 'link') wrong.add(key)
    }
    return wrong
  }

  /** Takes a notification; undefined: the entry is gone. */
  announce(key: string, entry: Entry | undefined): void {
    this.#newer?.set(key, entry)
    this.#set(key, entry)
  }

  /** Replaces everything known, unless the kernel still holds the same. */
  async read(look: (last: string | undefined) => Promise<Look>): Promise<void> {
    this.#newer = new Map()
    const { entries, fingerprint } = await look(this.#fingerprint)
    if (entries !== undefined) this.#replace(entries, fingerprint)
    for (const [key, entry] of this.#newer) this.#set(key, entry)
    this.#newer = undefined
  }

  #replace(entries: readonly Entry[], fingerprint: string): void {
    // Reuses the order and the key strings of the desired entries, so that keys are not stored twice.
    this.#entries = new Map(this.#desired)
    const seen = new Set<string>()
    for (const entry of entries) {
      if (entry.kind === 'link') continue
      const key = entryKey(entry)
      // Where several entries have one key (destinations of an FDB entry), a wrong one must be visible.
      if (!seen.has(key) || this.isRight(key)) this.#set(key, entry)
      seen.add(key)
    }
    for (const key of this.#desired.keys()) if (!seen.has(key)) this.#entries.delete(key)
    this.#fingerprint = fingerprint
  }

  /** Applies, and takes over the results together with the notifications that arrived meanwhile. */
  async apply(
    operations: readonly Operation[],
    kernel: Pick<Kernel, 'apply' | 'caughtUp'>,
    signal: AbortSignal,
  ): Promise<readonly Result[]> {
    if (operations.length === 0) return []
    this.#newer = new Map()
    const results = await kernel.apply(operations, signal)
    await kernel.caughtUp(signal)
    for (const { operation, error } of results) {
      const { entry, verb } = operation
      const key = entryKey(entry)
      if (error === undefined && !this.#newer.has(key)) this.#set(key, verb === 'delete' ? undefined : entry)
    }
    this.#newer = undefined
    return results
  }

  /** The device is gone. Returns the keys of all entries that were or should be on it. */
  assumeEmpty(dev: string): ReadonlySet<string> {
    const keys = new Set<string>()
    for (const entries of [this.#entries, this.#desired])
      for (const [key, entry] of entries) if (entryDevice(entry) === dev) keys.add(key)
    this.#assumeGone(dev, keys)
    return keys
  }

  /** The kernel may have dropped entries of these kinds silently. Returns their keys. */
  assumeDropped(dev: string, kinds: ReadonlySet<Entry['kind']>): ReadonlySet<string> {
    const keys = new Set<string>()
    for (const [key, entry] of this.#desired)
      if (kinds.has(entry.kind) && entryDevice(entry) === dev) keys.add(key)
    this.#assumeGone(dev, keys)
    return keys
  }

  /** Not an entry of the same key on another device, as of a route that is to move to this one. */
  #assumeGone(dev: string, keys: Iterable<string>): void {
    for (const key of keys) {
      const entry = this.#entries.get(key)
      if (entry !== undefined && entryDevice(entry) === dev) this.#set(key, undefined)
    }
  }

  /** Uses the desired object where the actual one is equal: half the memory, and `===` means equal. */
  #set(key: string, entry: Entry | undefined): void {
    const want = this.#desired.get(key)
    const was = this.#entries.get(key)
    const is = entry !== undefined && want !== undefined && printsSame(want, entry) ? want : entry
    if (is === was) return
    if (is === undefined) this.#entries.delete(key)
    else this.#entries.set(key, is)
    if (is === undefined || was === undefined || !printsSame(is, was)) this.#fingerprint = undefined
  }
}
