import { MultiMap } from '../../lease/common/multi_map.ts'
import type { Entry } from './entry.ts'
import { entryKey, printEntry } from './print.ts'

/** Two owners want different entries under one key, and the kernel holds one entry a key. */
export interface Conflict {
  readonly entry: Entry
  readonly owner: string
}

/**
 * The entries that the kernel shall hold, and their owners: a peer by its node name, or this node. An owner's
 * entries change together. An entry of several owners stays until the last one releases it.
 */
export class DesiredState {
  readonly #entries = new Map<string, Entry>()
  readonly #owned = new Map<string, readonly Entry[]>()
  /** The owners of each key. */
  readonly #owners = new MultiMap<string, string>()

  get entries(): ReadonlyMap<string, Entry> {
    return this.#entries
  }

  /** How many owners have entries, not counting `except`. */
  owners(except: string): number {
    return this.#owned.size - Number(this.#owned.has(except))
  }

  entriesOf(owner: string): readonly Entry[] {
    return this.#owned.get(owner) ?? []
  }

  /** The entries whose key another owner has with a different entry. */
  conflicts(owner: string, entries: readonly Entry[]): readonly Conflict[] {
    return entries.flatMap(entry => {
      const key = entryKey(entry)
      const other = this.#owners.get(key).find(name => name !== owner)
      if (other === undefined) return []
      const held = this.#entries.get(key)
      return held !== undefined && printEntry(held) === printEntry(entry) ? [] : [{ entry, owner: other }]
    })
  }

  /** Replaces the owner's entries, which must be in no conflict. Adds the changed keys to `touched`. */
  set(owner: string, entries: readonly Entry[], touched: Set<string>): void {
    for (const old of this.#owned.get(owner) ?? []) {
      const key = entryKey(old)
      touched.add(key)
      this.#release(owner, key)
    }
    for (const entry of entries) {
      // One string is shared by all maps: with thousands of peers the keys are most of the memory.
      const key = entryKey(entry)
      touched.add(key)
      this.#entries.set(key, entry)
      this.#owners.add(key, owner)
    }
    if (entries.length === 0) this.#owned.delete(owner)
    // A copy has no spare capacity.
    else this.#owned.set(owner, entries.slice())
  }

  /** The entry stays while another owner wants it. */
  #release(owner: string, key: string): void {
    this.#owners.delete(key, owner)
    if (this.#owners.get(key).length === 0) this.#entries.delete(key)
  }
}
