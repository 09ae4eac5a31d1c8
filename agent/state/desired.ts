import type { Entry } from './entry.ts'
import { entryKey, printEntry } from './print.ts'

/** Two owners want the same thing of the kernel, which holds it once. */
export interface Conflict {
  readonly entry: Entry
  /** Who had it first. */
  readonly owner: string
}

/**
 * What the kernel shall hold, by key, and on whose behalf: a peer's node name, or one's own. An owner's entries change
 * together. Several owners may want the very same entry: it stays until the last of them lets it go.
 */
export class DesiredState {
  readonly #entries = new Map<string, Entry>()
  readonly #owned = new Map<string, readonly Entry[]>()
  readonly #claims = new Map<string, string>()
  /** Further owners of the very same entry, seldom any. */
  readonly #sharers = new Map<string, ReadonlySet<string>>()

  get entries(): ReadonlyMap<string, Entry> {
    return this.#entries
  }

  /** How many owners want something, `except` one. */
  owners(except: string): number {
    return this.#owned.size - Number(this.#owned.has(except))
  }

  entriesOf(owner: string): readonly Entry[] {
    return this.#owned.get(owner) ?? []
  }

  /** Those of these entries of whose key another owner wants something else. */
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

  /**
   * Replaces all that the owner wants, which is in no conflict; an empty list forgets it. The keys that changed are added to
   * `touched`.
   */
  set(owner: string, entries: readonly Entry[], touched: Set<string>): void {
    for (const old of this.#owned.get(owner) ?? []) {
      const key = entryKey(old)
      touched.add(key)
      this.#release(owner, key)
    }
    for (const entry of entries) {
      // One string in all of them: with thousands of peers these keys are most of what there is to remember.
      const key = entryKey(entry)
      touched.add(key)
      this.#entries.set(key, entry)
      const holder = this.#claims.get(key)
      if (holder === undefined) this.#claims.set(key, owner)
      else this.#sharers.set(key, new Set([...(this.#sharers.get(key) ?? []), owner]))
    }
    if (entries.length === 0) this.#owned.delete(owner)
    // A copy has no room for more to come.
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
