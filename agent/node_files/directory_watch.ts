import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'

/**
 * Tells of changes in directories that may come and go: inotify, by node:fs. It tells too much and, where the kernel's limit
 * of watches is reached, nothing: who relies on it looks by itself from time to time.
 */
export class DirectoryWatch {
  readonly #onChange: () => void
  readonly #watchers = new Map<string, { readonly inode: number; readonly watcher: FSWatcher | undefined }>()

  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  /** Watches the directory that is there now: a directory that was made again needs a new watch. */
  async follow(directory: string): Promise<void> {
    const inode = await stat(directory).then(
      ({ ino }) => ino,
      () => undefined,
    )
    const known = this.#watchers.get(directory)
    if (known?.inode === inode) return
    known?.watcher?.close()
    this.#watchers.delete(directory)
    if (inode !== undefined) this.#watchers.set(directory, { inode, watcher: this.#open(directory) })
  }

  close(): void {
    for (const { watcher } of this.#watchers.values()) watcher?.close()
    this.#watchers.clear()
  }

  #open(directory: string): FSWatcher | undefined {
    try {
      const watcher = watch(directory, { persistent: false }, this.#onChange)
      watcher.on('error', () => watcher.close())
      return watcher
    } catch {
      return undefined
    }
  }
}
