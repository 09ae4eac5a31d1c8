import type { Kernel } from '../kernel/kernel.ts'
import type { EntryMap } from '../state/diff.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import { entryDevice, entryKey, printsSame } from '../state/print.ts'

/** What sits on devices, as far as known: the last snapshot, what was applied since, and what the kernel announced. */
export class ActualState {
  readonly #desired: EntryMap
  #entries = new Map<string, Entry>()
  /** Announced while a snapshot or an apply was on its way: newer than its answer. Undefined while none is. */
  #newer: Map<string, Entry | undefined> | undefined

  constructor(desired: EntryMap) {
    this.#desired = desired
  }

  get entries(): EntryMap {
    return this.#entries
  }

  isRight(key: string): boolean {
    return this.#entries.get(key) === this.#desired.get(key)
  }

  /** Where what is differs from what shall be. */
  wrongKeys(): Set<string> {
    const wrong = new Set<string>()
    for (const key of this.#entries.keys()) if (!this.isRight(key)) wrong.add(key)
    for (const [key, { kind }] of this.#desired)
      if (kind !== 'link' && !this.#entries.has(key)) wrong.add(key)
    return wrong
  }

  /** Takes what the kernel announces; undefined: the entry is gone. */
  announce(key: string, entry: Entry | undefined): void {
    this.#newer?.set(key, entry)
    this.#believe(key, entry)
  }

  /** Takes the place of all that was known. */
  async read(snapshot: () => Promise<readonly Entry[]>): Promise<void> {
    this.#newer = new Map()
    const entries = await snapshot()
    this.#entries = new Map()
    for (const entry of entries) {
      if (entry.kind === 'link') continue
      const key = entryKey(entry)
      // Of several under one key (an FDB entry's destinations) a wrong one must be seen.
      if (!this.#entries.has(key) || this.isRight(key)) this.#believe(key, entry)
    }
    for (const [key, entry] of this.#newer) this.#believe(key, entry)
    this.#newer = undefined
  }

  /** The results of applying these, and of waiting for all that was announced meanwhile. */
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
      if (error === undefined && !this.#newer.has(key))
        this.#believe(key, verb === 'delete' ? undefined : entry)
    }
    this.#newer = undefined
    return results
  }

  /** What sits on the device is gone with it. Returns the keys of all that sat or shall sit there. */
  empty(dev: string): readonly string[] {
    const keys = this.#keysOn(dev)
    for (const key of keys) this.#entries.delete(key)
    return keys
  }

  /** What is desired of these kinds on the device may be gone without a word. Returns its keys. */
  disturb(dev: string, kinds: ReadonlySet<Entry['kind']>): readonly string[] {
    const keys = this.#keysOn(dev).filter(key => kinds.has(this.#desired.get(key)?.kind ?? 'link'))
    for (const key of keys) this.#entries.delete(key)
    return keys
  }

  #keysOn(dev: string): readonly string[] {
    const on = (entries: EntryMap) =>
      [...entries].filter(([, entry]) => entryDevice(entry) === dev).map(([key]) => key)
    return [...new Set([...on(this.#entries), ...on(this.#desired)])]
  }

  /** One object for what is and what shall be, where they are equal: half the memory, and `===` says that all is well. */
  #believe(key: string, entry: Entry | undefined): void {
    const want = this.#desired.get(key)
    if (entry === undefined) this.#entries.delete(key)
    else this.#entries.set(key, want !== undefined && printsSame(want, entry) ? want : entry)
  }
}
