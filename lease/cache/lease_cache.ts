import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf } from '../common/errors.ts'
import type { Log } from '../common/log.ts'
import { readRegularFile } from '../common/read_file.ts'
import { replaceFile } from '../common/replace_file.ts'
import { ReportOnce } from '../common/report_once.ts'
import { type CachedLeases, CacheError, decodeCache, encodeCache, MAX_CACHE_BYTES } from './cache.ts'

export interface LeaseCacheOptions<Notes> {
  readonly file: string | undefined
  readonly scope: string
  /** Turns foreign notes into a typed value, or throws an Error. */
  readonly readNotes: (notes: unknown) => Notes
  /** Changes within this time are written together. */
  readonly saveMs: number
  readonly log: Log
}

/**
 * The file of the leases that a store saw last. An unusable file is logged and ignored; a failed write is
 * logged once, leaves the old content, and the next change tries again.
 */
export class LeaseCache<Notes> {
  readonly #options: LeaseCacheOptions<Notes>
  #loaded: Promise<CachedLeases<Notes> | undefined> | undefined
  #content: (() => Omit<CachedLeases<Notes>, 'scope'>) | undefined
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()
  readonly #problem = new ReportOnce()

  constructor(options: LeaseCacheOptions<Notes>) {
    this.#options = options
  }

  /** The file's content at the first call, until `save`; undefined where there is none to use. */
  load(): Promise<CachedLeases<Notes> | undefined> {
    this.#loaded ??= this.#load()
    return this.#loaded
  }

  async #load(): Promise<CachedLeases<Notes> | undefined> {
    const { file, scope, readNotes, log } = this.#options
    if (file === undefined) return undefined
    try {
      const text = await guarded(file, () => readIfThere(file))
      return text === undefined ? undefined : decodeCache(text, scope, readNotes)
    } catch (error) {
      if (!(error instanceof CacheError)) throw error
      log.warn({ file }, `Cannot use the lease cache ${file}: ${error.message}; starting without it`)
      return undefined
    }
  }

  /** Schedules a write. `content` is called when the file is written. */
  save(content: () => Omit<CachedLeases<Notes>, 'scope'>): void {
    if (this.#options.file === undefined) return
    this.#content = content
    this.#loaded = undefined
    this.#timer ??= setTimeout(() => this.#write(), this.#options.saveMs).unref()
  }

  async close(): Promise<void> {
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer)
      this.#write()
    }
    await this.#writing
  }

  #write(): void {
    this.#timer = undefined
    this.#writing = this.#writing.then(() => this.#writeNow())
  }

  async #writeNow(): Promise<void> {
    const { file, scope, log } = this.#options
    const content = this.#content
    if (file === undefined || content === undefined) return
    try {
      const text = encodeCache({ ...content(), scope })
      await guarded(file, () => replaceFile(file, text, 0o600))
      this.#problem.isOver('save')
    } catch (error) {
      if (!(error instanceof CacheError)) throw error
      if (this.#problem.isNew('save', error.message))
        log.warn({ file }, `Cannot save the leases in ${file}: ${error.message}`)
    }
  }
}

/** Throws CacheError and nothing else. */
async function guarded<T>(file: string, act: () => Promise<T>): Promise<T> {
  try {
    await refuseSharedFolder(file)
    return await act()
  } catch (cause) {
    throw cause instanceof CacheError ? cause : new CacheError(messageOf(cause), { cause })
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  return await readRegularFile(file, MAX_CACHE_BYTES).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
}

/** Throws CacheError where another user could replace the file by other leases or by a link. */
async function refuseSharedFolder(file: string): Promise<void> {
  const folder = dirname(file)
  const facts = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (facts === undefined) return
  const own = process.geteuid?.() ?? 0
  if (facts.uid !== own && facts.uid !== 0)
    throw new CacheError(`the directory ${folder} belongs to user ${facts.uid}: chown it to root`)
  const groupMayWrite = (facts.mode & 0o020) !== 0 && facts.gid !== 0 && facts.gid !== process.getegid?.()
  if ((facts.mode & 0o002) !== 0 || groupMayWrite)
    throw new CacheError(`other users can write to the directory ${folder}: chmod it to 755`)
}
