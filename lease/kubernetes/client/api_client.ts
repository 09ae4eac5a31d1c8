import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import type { Log } from '../../common/log.ts'
import type { ApiConfig } from './api_config.ts'
import { type ApiAction, refusal } from './api_error.ts'
import { ForeignBody, TooLongError } from './foreign_body.ts'

export interface ApiRequest {
  readonly action: ApiAction
  readonly method: 'GET' | 'PATCH' | 'POST'
  /** Path and query: `/api/v1/nodes?limit=100`. */
  readonly path: string
  readonly accept?: string
  readonly contentType?: string
  readonly body?: unknown
}

/** The client reports the server's answers here, for health. */
export interface ApiContact {
  /** Bytes came from the server. */
  answered(): void
}

/**
 * Requests to the API server, one try each. Uses node:https instead of the library's typed API, which needs
 * 240 MB to decode 5,000 Nodes, and a TLS handshake for each call.
 */
export class ApiClient {
  readonly #config: ApiConfig
  readonly #contact: ApiContact
  readonly #answerWithinMs: number
  readonly #log: Log

  /** `answerWithinMs`: how long the server may be silent before or within an answer. */
  constructor(config: ApiConfig, contact: ApiContact, answerWithinMs: number, log: Log) {
    this.#config = config
    this.#log = log
    this.#contact = contact
    this.#answerWithinMs = answerWithinMs
  }

  get url(): string {
    return this.#config.url
  }

  /**
   * Resolves to the parsed JSON. Rejects with ApiError where the answer is no 2xx, with TooLongError, and
   * with Node.js' error where there was no answer.
   */
  async json(what: ApiRequest, signal: AbortSignal): Promise<unknown> {
    const response = await this.open(what, signal)
    return JSON.parse(await this.#text(response, what.action))
  }

  /** Passes the body to `take` as it arrives. Rejects as `json` does, and where the body breaks off. */
  async pour(what: ApiRequest, take: (chunk: Buffer) => void, signal: AbortSignal): Promise<void> {
    await this.#pour(await this.open(what, signal), what.action, take)
  }

  /**
   * Resolves to a 2xx answer with its body unread: the caller must read or destroy it. Rejects as `json`
   * does.
   */
  async open(what: ApiRequest, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted()
    const options = await this.#config.requestOptions()
    const response = await this.#send(what, options, signal)
    this.#contact.answered()
    const status = response.statusCode ?? 0
    this.#log.trace({ status }, `asked the API server: ${what.method} ${what.path}`)
    if (status >= 200 && status < 300) return response
    const sent = status === 401 ? this.#config.forget(options) : undefined
    const body = await this.#text(response, what.action).catch(error => {
      // The status is what counts: the page of a proxy may be endless.
      if (error instanceof TooLongError) return ''
      throw error
    })
    throw refusal(what.action, this.#config.place, {
      status,
      body,
      retryAfter: response.headers['retry-after'],
      sent,
    })
  }

  async #send(what: ApiRequest, options: RequestOptions, signal: AbortSignal): Promise<IncomingMessage> {
    const body = what.body === undefined ? undefined : JSON.stringify(what.body)
    const headers: Record<string, string | number> = { ...Object(options.headers), 'user-agent': 'twilld' }
    headers.accept = what.accept ?? 'application/json'
    if (body !== undefined) {
      headers['content-type'] = what.contentType ?? 'application/json'
      headers['content-length'] = Buffer.byteLength(body)
    }
    return await this.#exchange(what, { ...options, method: what.method, headers, signal }, body)
  }

  #exchange(what: ApiRequest, options: RequestOptions, body?: string): Promise<IncomingMessage> {
    const url = this.url + what.path
    return new Promise((resolve, reject) => {
      const send = url.startsWith('http:') ? httpRequest : httpsRequest
      const request = send(url, options, response => {
        clearTimeout(timer)
        resolve(response)
      })
      const timer = setTimeout(() => request.destroy(this.#silence(what.action)), this.#answerWithinMs)
      // libuv then sends ten probes, one a second: a broken path is found in half a minute.
      request.on('socket', socket => socket.setKeepAlive(true, 20_000))
      request.on('error', cause => {
        clearTimeout(timer)
        const aborted = options.signal?.aborted === true
        reject(aborted ? options.signal?.reason : this.#unreachable(what.action, cause))
      })
      request.end(body)
    })
  }

  async #text(response: IncomingMessage, action: ApiAction): Promise<string> {
    const body = new ForeignBody()
    await this.#pour(response, action, chunk => body.push(chunk))
    return body.take()
  }

  async #pour(response: IncomingMessage, action: ApiAction, take: (chunk: Buffer) => void): Promise<void> {
    const timer = setTimeout(() => response.destroy(this.#silence(action)), this.#answerWithinMs)
    try {
      for await (const chunk of response) {
        timer.refresh()
        take(chunk as Buffer)
      }
    } finally {
      clearTimeout(timer)
    }
    this.#contact.answered()
  }

  #silence(action: ApiAction): Error {
    const seconds = Math.round(this.#answerWithinMs / 1000)
    return new Error(
      `Cannot ${action.verb} ${action.resource} at ${this.#config.place}: no answer for ${seconds} s`,
    )
  }

  #unreachable(action: ApiAction, cause: Error): Error {
    const act = `Cannot ${action.verb} ${action.resource} at ${this.#config.place}`
    if (cause.message.startsWith(act)) return cause
    return new Error(`${act}: ${cause.message || ('code' in cause ? String(cause.code) : cause.name)}`, {
      cause,
    })
  }
}
