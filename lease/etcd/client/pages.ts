import { Slices } from '../../common/slices.ts'
import type { Head, KeyValue, Listing } from './keys.ts'

/** More than 1,000 leases as nodes write them, or two values of the largest size that etcd accepts. */
export const MAX_ANSWER_BYTES = 4 * 1024 * 1024

/** Keys of the first page: in time for the deadline even if each has the largest value. */
const FIRST_LIMIT = 16
const MOST = 1_024
const MOST_GROWTH = 8
/** Bytes of values that one page aims at, judged by the size of the page before. */
const PAGE_BYTES = 1024 * 1024

export interface Page extends Head {
  readonly kvs: readonly KeyValue[]
  readonly bytes: number
  /** The page's last key, uncut; undefined where no key follows. */
  readonly last: Buffer | undefined
}

export interface PageRequest {
  /** Undefined: from the start of the range. */
  readonly from: Buffer | undefined
  readonly limit: number
  /** 0 is the newest. */
  readonly revision: number
  readonly keysOnly: boolean
}

/**
 * Reads a range at one revision in answers of bounded size: foreign values may have 1.5 MB each. `ask`
 * rejects an answer above MAX_ANSWER_BYTES; a value that fits into none is read as empty. Keeps only the
 * results of `read`.
 */
export async function readPages<T>(
  ask: (request: PageRequest) => Promise<Page>,
  read: (kv: KeyValue) => T,
): Promise<Listing<T>> {
  const slices = new Slices()
  const kvs: T[] = []
  let first: Head | undefined
  let request: PageRequest = { from: undefined, limit: FIRST_LIMIT, revision: 0, keysOnly: false }
  for (let asked = ask(request); ; ) {
    const page = await asked.catch((error: unknown) => {
      if (request.keysOnly || !/message larger than max/.test(String(error))) throw error
      return undefined
    })
    if (page === undefined) {
      request = { ...request, limit: Math.max(1, request.limit >> 3), keysOnly: request.limit === 1 }
      asked = ask(request)
      continue
    }
    first ??= { clusterId: page.clusterId, revision: page.revision }
    if (page.last !== undefined) {
      request = {
        from: Buffer.concat([page.last, Buffer.of(0)]),
        limit: nextLimit(request, page.bytes),
        revision: first.revision,
        keysOnly: false,
      }
      // etcd reads the next page while this one is decoded.
      asked = ask(request)
      asked.catch(() => {})
    }
    for (const kv of page.kvs) {
      await slices.next()
      kvs.push(read(kv))
    }
    if (page.last === undefined) return { ...first, kvs }
  }
}

/** The number of keys that fill a page if their values are as large as those of the page before. */
function nextLimit({ limit, keysOnly }: PageRequest, bytes: number): number {
  if (keysOnly) return 1
  const fitting = Math.floor((limit * PAGE_BYTES) / Math.max(1, bytes))
  return Math.max(1, Math.min(fitting, limit * MOST_GROWTH, MOST))
}
