import { messageOf } from '../../common/errors.ts'
import { readRegularFile } from '../../common/read_file.ts'
import { ApiConfigError } from './kubeconfig.ts'

/** Larger than any token that fits into an HTTP header. */
const MOST_BYTES = 64 * 1024

/**
 * A bearer token, from a file where one is named: the kubelet replaces a ServiceAccount's token every hour.
 * As in client-go, the last one read is used while the file cannot be read, and a token given beside the file
 * is used until then.
 */
export class BearerToken {
  readonly #file: string | undefined
  #last: string | undefined

  constructor(token: string | undefined, file: string | undefined) {
    this.#last = token?.trim()
    this.#file = file
  }

  get exists(): boolean {
    return this.#last !== undefined || this.#file !== undefined
  }

  /**
   * Undefined where there is no token. Rejects with ApiConfigError where the file has never been readable.
   */
  async read(): Promise<string | undefined> {
    if (this.#file === undefined) return this.#last
    try {
      const text = (await readRegularFile(this.#file, MOST_BYTES)).trim()
      if (text === '') throw new ApiConfigError('it is empty')
      this.#last = text
    } catch (cause) {
      if (this.#last === undefined)
        throw new ApiConfigError(`Cannot read the token file ${this.#file}: ${messageOf(cause)}`, { cause })
    }
    return this.#last
  }
}
