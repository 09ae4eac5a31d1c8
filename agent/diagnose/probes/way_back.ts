import { isUnexpected, messageOf } from '../../../lease/common/errors.ts'
import { familyOf, type Ip } from '../../../lease/net/ip.ts'
import { contains } from '../../../lease/net/prefix.ts'
import type { NodeView } from '../node_view.ts'
import { type Hop, hopStates } from '../trace/hop.ts'
import type { Trace, WayBack } from '../trace/trace.ts'
import type { AskedPeer, PeerAnswer } from './probe_result.ts'
import { probeTargets } from './probe_targets.ts'

/** Limits of a peer's answer: foreign input. */
const MOST = { hops: 64, unseen: 16, characters: 500 } as const

/** Asks a peer's agent about the way of a packet from its pods. */
export type AskTrace = (
  peer: AskedPeer,
  question: { readonly ask: 'trace'; readonly from: Ip; readonly to: Ip },
  signal: AbortSignal,
) => Promise<PeerAnswer>

/** The way of the packet's answer, as the other host's agent reports it; null where there is no such way. */
export async function wayBack(
  view: NodeView,
  { from, to, peer, broken }: Pick<Trace, 'from' | 'to' | 'peer' | 'broken'>,
  port: number,
  ask: AskTrace,
  signal: AbortSignal,
): Promise<WayBack | null> {
  const { self, backend } = view
  if (self === undefined || peer === null || peer === self.node || broken !== null) return null
  const silent = (why: string) => ({ via: null, hops: [], unseen: [], silent: why })
  if (!self.subnets.some(({ prefix }) => contains(prefix, from)))
    return silent(`${from} is not in this host's subnet`)
  if (backend.devices.length === 0) return silent('agents answer each other only in a tunnel')
  if (port === 0) return silent('questions to peers are switched off (--probe-port=0)')
  const target = probeTargets(view, peer, port).find(one => familyOf(one.overlayIp) === familyOf(to))
  if (target === undefined) return silent(`${peer} has no subnet of this address family`)
  try {
    const { answer, via } = await ask(target, { ask: 'trace', from: to, to: from }, signal)
    return { via, ...readAnswer(answer), silent: null }
  } catch (error) {
    if (isUnexpected(error)) throw error
    return silent(messageOf(error))
  }
}

/** The part of a trace that a peer gets. */
export function answerTrace({ hops, unseen }: Trace): Pick<WayBack, 'hops' | 'unseen'> {
  return readAnswer(new Map(Object.entries({ hops, unseen })))
}

function readAnswer(answer: PeerAnswer['answer']): Pick<WayBack, 'hops' | 'unseen'> {
  const list = (name: string, most: number) => {
    const value: unknown = answer.get(name)
    return Array.isArray(value) ? value.slice(0, most) : []
  }
  return {
    hops: list('hops', MOST.hops).flatMap(hop => readHop(Object(hop)) ?? []),
    unseen: list('unseen', MOST.unseen).map(text),
  }
}

function readHop({ step, state, used, why, remedy }: Record<string, unknown>): Hop | undefined {
  const known = hopStates.find(one => one === state)
  if (known === undefined) return undefined
  return {
    step: text(step),
    state: known,
    used: text(used),
    ...(typeof why === 'string' ? { why: text(why) } : {}),
    ...(typeof remedy === 'string' ? { remedy: text(remedy) } : {}),
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MOST.characters) : ''
}
