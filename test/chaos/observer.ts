import { setTimeout as sleep } from 'node:timers/promises'
import { after, base64, text } from './gateway.ts'
import type { Happening } from './history.ts'
import { holderOf } from './names.ts'

/** How long one member may be behind the others before its watch is started again. */
const BEHIND_MS = 1_500

interface WatchLine {
  readonly result?: {
    readonly events?: readonly {
      readonly type?: string
      readonly kv: {
        key: string
        value?: string
        create_revision?: string
        mod_revision: string
        lease?: string
      }
    }[]
    readonly canceled?: boolean
    readonly compact_revision?: string
  }
}

/**
 * Reads etcd's own history of the subnet keys, without the code under test: one watch a member from the first revision,
 * and of each revision what comes first.
 */
export class Observer {
  readonly #prefix: string
  readonly #folder: string
  readonly #record: (event: Happening) => void
  readonly #stop = new AbortController()
  readonly #watches: readonly Promise<void>[]
  #epoch: number
  #revision = 0
  #lastNewsAt = performance.now()
  /** What was missed for good because it was compacted: the history is not whole, and no verdict can be. */
  gap: string | undefined

  constructor(
    endpoints: readonly string[],
    prefix: string,
    epoch: number,
    record: (event: Happening) => void,
    revision = 0,
  ) {
    this.#revision = revision
    this.#prefix = `${prefix}/`
    this.#folder = `${prefix}/subnets/`
    this.#record = record
    this.#epoch = epoch
    this.#watches = endpoints.map(endpoint => this.#follow(endpoint))
  }

  /** The last revision that changed anything under the prefix. */
  get revision(): number {
    return this.#revision
  }

  async end(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#watches)
  }

  async #follow(endpoint: string): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const once = new AbortController()
      const signal = AbortSignal.any([once.signal, this.#stop.signal])
      let through = this.#revision
      const timer = setInterval(() => {
        if (through < this.#revision && performance.now() - this.#lastNewsAt > BEHIND_MS) once.abort()
      }, BEHIND_MS / 3)
      try {
        for await (const line of this.#watch(endpoint, signal)) through = this.#take(line, through)
      } catch {
        // The member is away or the watch was behind: the others continue, and this one is tried again.
      } finally {
        clearInterval(timer)
        once.abort()
      }
      await sleep(100, undefined, { signal: this.#stop.signal }).catch(() => {})
    }
  }

  async *#watch(endpoint: string, signal: AbortSignal): AsyncGenerator<WatchLine> {
    const range = { key: base64(this.#prefix), range_end: base64(after(this.#prefix)) }
    const body = JSON.stringify({ create_request: { ...range, start_revision: `${this.#revision + 1}` } })
    const answer = await fetch(`${endpoint}/v3/watch`, { method: 'POST', body, signal })
    let rest = ''
    const decoder = new TextDecoder()
    for await (const piece of answer.body ?? []) {
      const lines = (rest + decoder.decode(piece, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) yield JSON.parse(line) as WatchLine
    }
  }

  #take({ result }: WatchLine, before: number): number {
    const compacted = Number(result?.compact_revision ?? 0)
    if (compacted > this.#revision + 1)
      this.gap = `etcd was compacted to ${compacted}, seen up to ${this.#revision}`
    if (result?.canceled) throw new Error('the watch was cancelled')
    let through = before
    const seen = this.#revision
    for (const { type, kv } of result?.events ?? []) {
      through = Number(kv.mod_revision)
      if (through <= seen) continue
      this.#revision = through
      this.#lastNewsAt = performance.now()
      if (!text(kv.key).startsWith(this.#folder)) continue
      const key = text(kv.key).slice(this.#folder.length)
      const head = { at: performance.now(), epoch: this.#epoch, revision: through, key }
      if (type === 'DELETE') this.#record({ what: 'delete', ...head })
      else
        this.#record({
          what: 'put',
          ...head,
          created: Number(kv.create_revision),
          holder: holderOf(text(kv.value ?? '')),
          ip: publicIpOf(text(kv.value ?? '')),
          lease: kv.lease ?? '0',
        })
    }
    return through
  }
}

/** In the first family: IPv4 where there is one. */
export function publicIpOf(value: string): string {
  const lease = JSON.parse(value) as { PublicIP?: string; PublicIPv6?: string | null }
  return lease.PublicIP ?? lease.PublicIPv6 ?? ''
}
