import { ExpectedError } from '../../common/errors.ts'

/**
 * Most bytes of one object, event or error page of the API server, or of a proxy before it. etcd takes no
 * object above 1.5 MB, and JSON may write each byte with six characters: a hostile kubelet's Node must not
 * stop the list and the watch of all Nodes.
 */
export const MAX_OBJECT_BYTES = 16 * 1024 * 1024
/** Most Nodes of a list, and most members of one answer: no cluster has as many. */
export const MOST_NODES = 200_000
/** What a part costs besides its bytes: hostile parts are one byte long. */
const PART_BYTES = 100

/** The answer is longer than any that the API server sends. */
export class TooLongError extends ExpectedError {
  override name = 'TooLongError'

  constructor(what: 'object' | 'list' = 'object') {
    super(
      what === 'object'
        ? `one object of the answer is longer than ${MAX_OBJECT_BYTES / 1024 / 1024} MB`
        : `the list has no end after ${MOST_NODES} Nodes`,
    )
  }
}

/** Collects the parts of one body, or of one object in it. */
export class ForeignBody {
  #parts: Buffer[] = []
  #cost = 0

  /** Keeps the buffer itself. Throws TooLongError. */
  push(part: Buffer): void {
    this.#cost += part.length + PART_BYTES
    if (this.#cost > MAX_OBJECT_BYTES) throw new TooLongError()
    this.#parts.push(part)
  }

  /** The text so far; the next one begins empty. */
  take(): string {
    const [first = Buffer.alloc(0)] = this.#parts
    const bytes = this.#parts.length < 2 ? first : Buffer.concat(this.#parts)
    this.#parts = []
    this.#cost = 0
    return bytes.toString('utf8')
  }
}
