import type { Entry } from '../state/entry.ts'
import { printEntry } from '../state/print.ts'

/**
 * What we asked of the kernel and it has not announced yet, by key, oldest first. Announcements come late: one of an act of
 * ours that a later one has overtaken is no news, and nobody else's doing. In doubt an announcement counts as news, which
 * costs a look too many and never one too few.
 */
export class Echoes {
  readonly #awaited = new Map<string, (Entry | undefined)[]>()

  /** To be called before the kernel is asked; undefined: for the entry to go. */
  await(key: string, entry: Entry | undefined): void {
    const awaited = this.#awaited.get(key)
    if (awaited === undefined) this.#awaited.set(key, [entry])
    else awaited.push(entry)
  }

  /** It was refused, so that nothing will be announced. */
  forget(key: string): void {
    this.#awaited.delete(key)
  }

  /** Announcements were lost, or replaced by a look at everything. */
  clear(): void {
    this.#awaited.clear()
  }

  /** Whether the announcement says only what we have changed again since. */
  isOvertaken(key: string, entry: Entry | undefined): boolean {
    const awaited = this.#awaited.get(key)
    if (awaited === undefined) return false
    const at = awaited.findLastIndex(one => isSame(one, entry))
    if (at < 0 || at === awaited.length - 1) {
      this.#awaited.delete(key)
      return false
    }
    awaited.splice(0, at + 1)
    return true
  }
}

function isSame(a: Entry | undefined, b: Entry | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && printEntry(a) === printEntry(b))
}
