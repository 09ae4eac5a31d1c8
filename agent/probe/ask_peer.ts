import { connect } from 'node:net'
import { ExpectedError, isUnexpected, messageOf } from '../../lease/common/errors.ts'
import { printable } from '../../lease/common/printable.ts'
import { fieldsOf, parseJson } from '../../lease/json/json.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { AskedPeer, PeerAnswer } from '../diagnose/probes/probe_result.ts'
import { encodeQuestion, LONGEST_ANSWER, type Question } from './question.ts'

/** For a connection, for an answer (the peer may have to read its host), and for all tries together. */
const CONNECT_MS = 1_500
const ANSWER_MS = 8_000
const ALL_MS = 12_000

class SilentPeerError extends ExpectedError {
  override name = 'SilentPeerError'
}

/** The peer's host answers, but no agent listens there. */
class NoPeerAgentError extends ExpectedError {
  override name = 'NoPeerAgentError'
}

/** Through another peer if the way to it does not work. Throws SilentPeerError, NoPeerAgentError. */
export async function askPeer(peer: AskedPeer, question: Question, signal: AbortSignal): Promise<PeerAnswer> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(ALL_MS)])
  try {
    return { answer: await ask(peer.overlayIp, peer, question, until), via: null }
  } catch (error) {
    if (isUnexpected(error) || error instanceof NoPeerAgentError) throw error
    const relayed = await askThroughOthers(peer, question, until)
    if (relayed === undefined) throw error
    return relayed
  }
}

/** Undefined if no other peer gets an answer either. */
export async function askThroughOthers(
  { overlayIp, relays, ...own }: AskedPeer,
  question: Question,
  signal: AbortSignal,
): Promise<(PeerAnswer & { readonly via: string }) | undefined> {
  for (const relay of relays)
    try {
      const answer = await ask(relay.overlayIp, own, { ...question, via: overlayIp }, signal)
      return { answer, via: relay.node }
    } catch (error) {
      if (isUnexpected(error)) throw error
    }
  return undefined
}

/** One question to one agent. Throws SilentPeerError, also for an answer that is an error. */
export async function ask(
  to: Ip,
  own: Pick<AskedPeer, 'from' | 'port'>,
  question: Question,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, unknown>> {
  const line = await exchange(to, own, question, signal)
  const answer = fieldsOf(parseJson(line, LONGEST_ANSWER))
  const error = answer?.get('error')
  if (answer === undefined || error !== undefined)
    throw new SilentPeerError(
      `the agent at ${to} refuses: ${typeof error === 'string' ? printable(error) : 'no answer that can be read'}`,
    )
  return answer
}

function exchange(
  host: Ip,
  { from, port }: Pick<AskedPeer, 'from' | 'port'>,
  question: Question,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, localAddress: from, signal })
    const fail = (why: string) => {
      socket.destroy()
      reject(new SilentPeerError(`the agent at ${host} port ${port} ${why}`))
    }
    const parts: Buffer[] = []
    let bytes = 0
    socket.setTimeout(CONNECT_MS, () => fail('does not answer'))
    socket.once('connect', () => {
      socket.setTimeout(ANSWER_MS)
      socket.write(encodeQuestion(question))
    })
    socket.on('data', part => {
      bytes += part.length
      if (bytes > LONGEST_ANSWER) fail('sends a longer answer than allowed')
      else parts.push(part)
    })
    socket.on('error', error => {
      const isRefused = 'code' in error && error.code === 'ECONNREFUSED'
      if (isRefused) reject(new NoPeerAgentError(`no agent answers at ${host} port ${port} (--probe-port)`))
      else fail(`cannot be asked: ${messageOf(error)}`)
    })
    socket.on('close', () => {
      if (bytes === 0)
        fail('closes the connection: its version is older, or this host is not one of its peers')
      else resolve(Buffer.concat(parts).toString())
    })
  })
}
