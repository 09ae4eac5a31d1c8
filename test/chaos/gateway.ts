export interface Stood {
  readonly key: string
  readonly value: string
  readonly created: number
  readonly modified: number
  readonly leaseId: string
}

/** etcd by its own JSON gateway (POST /v3/kv/range, ...): none of the code under test is in between. */
export class Gateway {
  readonly #endpoints: () => readonly string[]
  #at = 0

  constructor(endpoints: () => readonly string[]) {
    this.#endpoints = endpoints
  }

  /** Resolves to the revision after it. */
  async put(key: string, value: string, leaseId = '0'): Promise<number> {
    return revisionOf(await this.#post('kv/put', { key: base64(key), value: base64(value), lease: leaseId }))
  }

  /** Resolves to the revision after it. */
  async remove(key: string): Promise<number> {
    return revisionOf(await this.#post('kv/deleterange', { key: base64(key) }))
  }

  async grant(ttlSeconds: number): Promise<string> {
    const { ID } = (await this.#post('lease/grant', { TTL: ttlSeconds })) as { ID: string }
    return ID
  }

  async revoke(leaseId: string): Promise<void> {
    await this.#post('lease/revoke', { ID: leaseId })
  }

  /** False where the key stood. */
  async create(key: string, value: string, leaseId: string): Promise<boolean> {
    const put = { key: base64(key), value: base64(value), lease: leaseId }
    const answer = await this.#post('kv/txn', {
      compare: [{ key: base64(key), target: 'VERSION', result: 'EQUAL', version: '0' }],
      success: [{ request_put: put }],
    })
    return (answer as { succeeded?: boolean }).succeeded === true
  }

  async list(prefix: string): Promise<readonly { key: string; value: string; leaseId: string }[]> {
    const answer = await this.#post('kv/range', { key: base64(prefix), range_end: base64(after(prefix)) })
    const { kvs = [] } = answer as { kvs?: { key: string; value: string; lease?: string }[] }
    return kvs.map(kv => ({ key: text(kv.key), value: text(kv.value), leaseId: kv.lease ?? '0' }))
  }

  /** How it stands, and at which revision. */
  async listWithRevisions(
    prefix: string,
  ): Promise<{ readonly revision: number; readonly keys: readonly Stood[] }> {
    const answer = await this.#post('kv/range', { key: base64(prefix), range_end: base64(after(prefix)) })
    const { header, kvs = [] } = answer as {
      header: { revision: string }
      kvs?: { key: string; value: string; create_revision: string; mod_revision: string; lease?: string }[]
    }
    const keys = kvs.map(kv => ({
      key: text(kv.key),
      value: text(kv.value),
      created: Number(kv.create_revision),
      modified: Number(kv.mod_revision),
      leaseId: kv.lease ?? '0',
    }))
    return { revision: Number(header.revision), keys }
  }

  async compact(revision: number): Promise<void> {
    await this.#post('kv/compaction', { revision: `${revision}` })
  }

  /** Asks one member after the other, each at most once. Rejects with what the last one said. */
  async #post(path: string, body: object): Promise<unknown> {
    let error: unknown
    for (const _ of this.#endpoints()) {
      const endpoint = this.#endpoints()[this.#at % this.#endpoints().length]
      try {
        return await post(`${endpoint}/v3/${path}`, body, AbortSignal.timeout(1_000))
      } catch (cause) {
        this.#at++
        error = cause
      }
    }
    throw error
  }
}

/** Rejects with etcd's own words where it refuses. */
export async function post(url: string, body: object, signal: AbortSignal): Promise<unknown> {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body), signal })
  const json = (await answer.json()) as { error?: string }
  if (!answer.ok) throw new Error(`${url}: ${json.error ?? answer.status}`)
  return json
}

function revisionOf(answer: unknown): number {
  return Number((answer as { header: { revision: string } }).header.revision)
}

export function base64(words: string): string {
  return Buffer.from(words).toString('base64')
}

export function text(encoded: string): string {
  return Buffer.from(encoded, 'base64').toString()
}

/** End of the range of all keys that start with the prefix. */
export function after(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)
}
