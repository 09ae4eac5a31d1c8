import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { orUndefined } from '../../lease/common/errors.ts'

interface Watched {
  readonly inode: number | undefined
  readonly watcher: FSWatcher | undefined
}

/**
 * Reports changes in directories that may come and go: inotify, by node:fs. May report a change where there
 * is none. Reports nothing once the kernel's limit of watches is reached: callers must also check
 * periodically.
 */
export class DirectoryWatch {
  readonly #onChange: () => void
  readonly #watchers = new Map<string, Watched>()

  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  /** A directory made again needs a new watch. True if it begins now: earlier changes are unknown. */
  async follow(directory: string): Promise<boolean> {
    const inode = (await stat(directory).catch(() => undefined))?.ino
    const known = this.#watchers.get(directory)
    if (known !== undefined && known.inode === inode) return false
    known?.watcher?.close()
    const failed = () => this.#watchers.set(directory, { inode, watcher: undefined })
    const watcher = inode === undefined ? undefined : this.#open(directory, failed)
    this.#watchers.set(directory, { inode, watcher })
    return watcher !== undefined
  }

  get isComplete(): boolean {
    return [...this.#watchers.values()].every(({ watcher }) => watcher !== undefined)
  }

  close(): void {
    for (const { watcher } of this.#watchers.values()) watcher?.close()
    this.#watchers.clear()
  }

  #open(directory: string, failed: () => void): FSWatcher | undefined {
    const watcher = orUndefined(() => watch(directory, { persistent: false }, this.#onChange))
    watcher?.on('error', () => {
      watcher.close()
      failed()
    })
    return watcher
  }
}
