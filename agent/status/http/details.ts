import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { lazily } from '../../../lease/common/lazily.ts'
import { printableDocument } from '../../../lease/common/printable.ts'
import { withoutLogins } from '../../../lease/common/url_logins.ts'
import type { StatusDocument } from '../../diagnose/status_document.ts'
import type { SubnetMap } from '../../map/subnet_map.ts'
import { isOfThisHost } from './connections.ts'
import type { Answer } from './health.ts'

/** What the HTTP port shows beside health, about the whole network. */
export interface DetailSource {
  /** Whether other hosts and pods get answers too. */
  readonly toAll: boolean
  status(signal: AbortSignal): Promise<StatusDocument>
  map(signal: AbortSignal): Promise<SubnetMap>
}

const loadDrawing = lazily(() => import('../../map/draw_map.ts'))

/** A map of 5,000 nodes costs some 100 ms: all requests within this time share one. */
const FRESH_MS = 2_000
const ANSWER_MS = 10_000

/** The page loads nothing, and requests only its own updates. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"

/** Read-only: `/` for browsers, `/map` and `/status` for scripts. Without file paths and passwords. */
export class Details {
  readonly #toAll: boolean
  readonly #pages: Readonly<Record<string, () => Promise<Answer>>>

  constructor({ toAll, status, map }: DetailSource) {
    this.#toAll = toAll
    const sharedMap = shared(() => map(AbortSignal.timeout(ANSWER_MS)))
    this.#pages = {
      '/': shared(async () => {
        const { drawHtml } = await loadDrawing()
        const text = masked(drawHtml(printableDocument(await sharedMap())))
        const headers = { 'content-security-policy': policy }
        return { code: 200, text, type: 'text/html; charset=utf-8', headers }
      }),
      '/map': async () => json(await sharedMap()),
      '/status': shared(async () => json(await status(AbortSignal.timeout(ANSWER_MS)))),
    }
  }

  get paths(): readonly string[] {
    return Object.keys(this.#pages)
  }

  /** Undefined for an unknown page. */
  answer(path: string, request: IncomingMessage): Promise<Answer> | Answer | undefined {
    const page = Object.hasOwn(this.#pages, path) ? this.#pages[path] : undefined
    if (page === undefined || this.#toAll || isFromThisHost(request)) return page?.()
    return { code: 403, text: 'Only the host itself may read this page; --healthz-details opens it to all\n' }
  }
}

/** By address: after DNS rebinding, a browser on this host asks under another site's name. */
function isFromThisHost({ socket, headers }: IncomingMessage): boolean {
  const name = (headers.host ?? '').replace(/:\d+$/, '').replaceAll(/[[\]]/g, '')
  return isOfThisHost(socket) && (name === 'localhost' || isIP(name) !== 0)
}

/** One answer, or failure, for all callers within FRESH_MS: the work is done once for all of them. */
function shared<T>(make: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined
  let freshUntilMs = 0
  return () => {
    if (answer !== undefined && performance.now() < freshUntilMs) return answer
    freshUntilMs = Number.POSITIVE_INFINITY
    answer = make().finally(() => {
      freshUntilMs = performance.now() + FRESH_MS
    })
    return answer
  }
}

function json(document: unknown): Answer {
  return { code: 200, text: masked(`${JSON.stringify(document)}\n`), type: 'application/json' }
}

/** Hides file paths and passwords in URLs, which the reasons in a document may contain. */
function masked(text: string): string {
  const paths = /(?<![\w.:/<])\/(?:etc|var|run|home|root|opt|usr|tmp|srv|mnt|data)\/[\w./@-]*/g
  return withoutLogins(text.replaceAll(paths, '(file)'), '')
}
