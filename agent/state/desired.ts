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
  readonly #claims = new Map<string, string>()
  /** Further owners of an equal entry; rarely any. */
  readonly #sharers = new Map<string, ReadonlySet<string>>()

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
      const holder = this.#claims.get(key)
      if (holder === undefined || (holder === owner && !this.#sharers.has(key))) return []
      const held = this.#entries.get(key)
      if (held !== undefined && printEntry(held) === printEntry(entry)) return []
      const other = [holder, ...(this.#sharers.get(key) ?? [])].find(name => name !== owner)
      return other === undefined ? [] : [{ entry, owner: other }]
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
      const holder = this.#claims.get(key)
      if (holder === undefined) this.#claims.set(key, owner)
      else this.#sharers.set(key, new Set([...(this.#sharers.get(key) ?? []), owner]))
    }
    if (entries.length === 0) this.#owned.delete(owner)
    // A copy has no spare capacity.
    else this.#owned.set(owner, entries.slice())
  }

  /** The entry stays while another owner wants it. */
  #release(owner: string, key: string): void {
    const holder = this.#claims.get(key)
    const rest = [...(this.#sharers.get(key) ?? [])].filter(name => name !== owner)
    const next = holder === owner ? rest.shift() : holder
    if (rest.length === 0) this.#sharers.delete(key)
    else this.#sharers.set(key, new Set(rest))
    if (next !== undefined) this.#claims.set(key, next)
    else {
      this.#claims.delete(key)
      this.#entries.delete(key)
    }
  }
}
