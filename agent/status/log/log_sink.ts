import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import type { Writable } from 'node:stream'

/** Log bytes kept while a reader has stalled or a disk is full. */
const MOST_BYTES = 256 * 1024
const RETRY_MS = 200

/**
 * Writes log lines at once where possible, so that the last line before an exit is not lost. Never blocks: a
 * stalled reader, a full disk or a pipe without a reader stops the log, not the agent. Lines beyond the queue
 * are counted; the count is the first line once the log is writable again.
 */
export class LogSink {
  readonly #write: (bytes: Buffer) => number
  readonly #queue: Buffer[] = []
  #queuedBytes = 0
  #lost = 0
  #timer: NodeJS.Timeout | undefined

  constructor(fd: number) {
    this.#write = openWriter(fd)
  }

  write(line: string): void {
    const bytes = Buffer.from(line)
    if (this.#queue.length === 0) {
      const rest = this.#attempt(bytes)
      if (rest !== undefined) this.#enqueue(rest)
    } else if (this.#queuedBytes + bytes.length > MOST_BYTES) this.#lost++
    else this.#enqueue(bytes)
  }

  /** Writes as much of the queue as possible now. */
  drain(): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const rest = this.#attempt(first)
      this.#queuedBytes -= first.length - (rest?.length ?? 0)
      if (rest !== undefined) {
        this.#queue[0] = rest
        return
      }
      this.#queue.shift()
    }
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#sayLost()
  }

  #enqueue(bytes: Buffer): void {
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
    this.#timer ??= setInterval(() => this.drain(), RETRY_MS).unref()
  }

  #sayLost(): void {
    if (this.#lost === 0) return
    const record = { level: 'warn', time: new Date().toISOString(), lost: this.#lost }
    this.#lost = 0
    this.write(`${JSON.stringify({ ...record, msg: 'log lines were lost: the log could not be written' })}\n`)
  }

  /** The bytes that could not be written, for any reason; undefined if all were. */
  #attempt(bytes: Buffer): Buffer | undefined {
    let rest = bytes
    try {
      while (rest.length > 0) {
        const written = this.#write(rest)
        if (written === 0) return rest
        rest = rest.subarray(written)
      }
      return undefined
    } catch {
      return rest
    }
  }
}

/** The writer returns the number of bytes written. May throw. */
function openWriter(fd: number): (bytes: Buffer) => number {
  if (fd === 2 && fstatSync(fd).isSocket()) return socketWriter(process.stderr)
  const own = openWithoutWaiting(fd)
  return bytes => writeSync(own, bytes)
}

/** For journald: its socket cannot be opened twice, but Node.js never blocks on it and keeps unsent bytes. */
function socketWriter(stderr: Writable & { readonly writableLength: number }): (bytes: Buffer) => number {
  stderr.on('error', () => {})
  return bytes => {
    if (stderr.writableLength > MOST_BYTES) return 0
    stderr.write(bytes)
    return bytes.length
  }
}

/** A second file description of a pipe or terminal: O_NONBLOCK would apply to all programs that share one. */
function openWithoutWaiting(fd: number): number {
  const stat = fstatSync(fd)
  if (!stat.isFIFO() && !stat.isCharacterDevice()) return fd
  const { O_WRONLY, O_APPEND, O_NONBLOCK, O_NOCTTY } = constants
  try {
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY)
  } catch {
    return fd
  }
}
