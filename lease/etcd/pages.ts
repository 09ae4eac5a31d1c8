import type { Head, KeyValue, Listing } from './keys.ts'

/** Bytes of one answer: more than 1,000 leases as nodes write them, and two values of the largest size that etcd takes. */
export const MAX_ANSWER_BYTES = 4 * 1024 * 1024

const FIRST_LIMIT = 1_024

export interface Page extends Head {
  readonly kvs: readonly KeyValue[]
  /** The last key, whole; undefined where nothing stands behind it. */
  readonly last: Buffer | undefined
}

export interface PageRequest {
  /** Undefined: from the beginning of the range. */
  readonly from: Buffer | undefined
  readonly limit: number
  /** 0 is the newest. */
  readonly revision: number
  readonly keysOnly: boolean
}

/**
 * All keys of a range at one revision, in answers of bounded size: values are foreign and may have 1.5 MB each. `read` rejects
 * where an answer would be larger than MAX_ANSWER_BYTES. A value that fits into no answer reads as empty.
 */
export async function readPages(read: (request: PageRequest) => Promise<Page>): Promise<Listing> {
  const kvs: KeyValue[] = []
  let first: Head | undefined
  let request: PageRequest = { from: undefined, limit: FIRST_LIMIT, revision: 0, keysOnly: false }
  for (;;) {
    const page = await read(request).catch((error: unknown) => {
      if (request.keysOnly || !/message larger than max/.test(String(error))) throw error
      return undefined
    })
    if (page === undefined) {
      request = { ...request, limit: Math.max(1, request.limit >> 3), keysOnly: request.limit === 1 }
      continue
    }
    first ??= { clusterId: page.clusterId, revision: page.revision }
    for (const kv of page.kvs) kvs.push(kv)
    if (page.last === undefined) return { ...first, kvs }
    request = {
      from: Buffer.concat([page.last, Buffer.of(0)]),
      limit: Math.min(FIRST_LIMIT, request.limit * 2),
      revision: first.revision,
      keysOnly: false,
    }
  }
}
