/**
 * How an agent learns whether the writer of a key still runs: it touches the key, which changes only its
 * revision. The agent that holds the key renews it at once, under a new etcd lease. Peers see no difference.
 * flanneld does not answer.
 */

import { type KeyValue, oneKey } from '../client/keys.ts'
import type { EtcdContext } from '../records/context.ts'
import { NO_LEASE } from '../records/record.ts'

export interface Answer {
  readonly isAlive: boolean
  readonly modRevision: number
}

/** Asks the writer of the key. Undefined where the key changed before it could be touched: read it again. */
export async function ask(ctx: EtcdContext, kv: KeyValue, signal: AbortSignal): Promise<Answer | undefined> {
  let modRevision = await touch(ctx, kv, signal)
  if (modRevision === undefined) return undefined
  // Not AbortSignal.timeout: Node.js may collect that signal as garbage while one derived from it is in use,
  // and then it never fires.
  const stop = new AbortController()
  const timer = setTimeout(() => stop.abort(), ctx.tuning.askMs)
  const all = AbortSignal.any([signal, stop.signal])
  try {
    for await (const { through, puts } of ctx.client.watch(oneKey(kv.key), modRevision + 1, all)) {
      if (through > modRevision) modRevision = through
      if (puts.some(put => isAnswer(kv, put))) return { isAlive: true, modRevision }
    }
  } catch (error) {
    if (signal.aborted || !stop.signal.aborted) throw error
  } finally {
    clearTimeout(timer)
  }
  return { isAlive: false, modRevision }
}

/** Resolves to the new revision; undefined where the key has changed since it was read. */
export async function touch(
  ctx: EtcdContext,
  { key, modRevision }: KeyValue,
  signal: AbortSignal,
): Promise<number | undefined> {
  const transaction = { conditions: [{ key, modRevision }], changes: [{ touch: key }] }
  const outcome = await ctx.client.commit(transaction, signal)
  return outcome.held ? outcome.revision : undefined
}

/** What only the key's writer changes: the same while it is silent, whatever other hosts do. */
export function writeOf({ leaseId, value }: KeyValue): string {
  return `${leaseId} ${value}`
}

/**
 * Whether this is the writer's answer. Another host's touch is none; a writer without an etcd lease, by a
 * reservation, answers by touching.
 */
function isAnswer(asked: KeyValue, put: KeyValue): boolean {
  return writeOf(put) !== writeOf(asked) || asked.leaseId === NO_LEASE
}
