/**
 * How agents tell whether the writer of a key still runs: the one that asks touches the key, which changes its revision and
 * nothing else, and the agent that holds the key touches it too. Peers see no difference. flanneld does not answer.
 */
import type { EtcdContext } from './context.ts'
import { type KeyValue, oneKey } from './keys.ts'

type Version = Pick<KeyValue, 'key' | 'modRevision'>

/** Resolves to the new revision, undefined where the key is no longer as it was read. */
export async function touch(
  ctx: EtcdContext,
  version: Version,
  signal: AbortSignal,
): Promise<number | undefined> {
  const outcome = await ctx.client.commit(
    { conditions: [version], changes: [{ touch: version.key }] },
    signal,
  )
  return outcome.held ? outcome.revision : undefined
}

export interface Answer {
  readonly isAlive: boolean
  readonly modRevision: number
}

/** Undefined where the key changed before it could be touched: read it again. */
export async function ask(
  ctx: EtcdContext,
  version: Version,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  const touched = await touch(ctx, version, signal)
  if (touched === undefined) return undefined
  const until = AbortSignal.any([signal, AbortSignal.timeout(ctx.tuning.askMs)])
  try {
    for await (const { through } of ctx.client.watch(oneKey(version.key), touched + 1, until))
      if (through > touched) return { isAlive: true, modRevision: through }
  } catch (error) {
    if (signal.aborted || !until.aborted) throw error
  }
  return { isAlive: false, modRevision: touched }
}
