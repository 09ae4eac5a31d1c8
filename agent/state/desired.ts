import type { Entry } from './entry.ts'
import { entryKey } from './print.ts'

/** Two owners want the same thing of the kernel, which holds it once. */
export interface Conflict {
  readonly entry: Entry
  /** Who had it first. */
  readonly owner: string
}

/**
 * What the kernel shall hold, by key, and on whose behalf: a peer's node name, or one's own. An owner's entries change
 * together.
 */
export class DesiredState {
  readonly #entries = new Map<string, Entry>()
  readonly #owned = new Map<string, readonly Entry[]>()
  readonly #claims = new Map<string, string>()

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

  /** Those of these entries that other owners have. */
  conflicts(owner: string, entries: readonly Entry[]): readonly Conflict[] {
    return entries.flatMap(entry => {
      const holder = this.#claims.get(entryKey(entry))
      return holder === undefined || holder === owner ? [] : [{ entry, owner: holder }]
    })
  }

  /** Replaces all that the owner wants; an empty list forgets it. The keys that changed are added to `touched`. */
  set(owner: string, entries: readonly Entry[], touched: Set<string>): void {
    for (const old of this.#owned.get(owner) ?? []) {
      const key = entryKey(old)
      touched.add(key)
      this.#entries.delete(key)
      this.#claims.delete(key)
    }
    for (const entry of entries) {
      // One string in all of them: with thousands of peers these keys are most of what there is to remember.
      const key = entryKey(entry)
      touched.add(key)
      this.#entries.set(key, entry)
      this.#claims.set(key, owner)
    }
    if (entries.length === 0) this.#owned.delete(owner)
    else this.#owned.set(owner, entries)
  }
}
