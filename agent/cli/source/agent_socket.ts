import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { ExpectedError, messageOf } from '../../../lease/common/errors.ts'
import { printLease } from '../../../lease/lease.ts'
import { type NodeDocuments, SOME_TIMES } from '../../diagnose/node_documents.ts'
import type { AgentFacts, AgentSilence, NodeView } from '../../diagnose/node_view.ts'
import type { StatusDocument } from '../../diagnose/status_document.ts'

/** Time-out of the first request: a stopped or hanging agent has a socket too. */
const FIRST_ANSWER_MS = 2_000

class AgentRefusedError extends ExpectedError {
  override name = 'AgentRefusedError'
}

export class NoAgentError extends ExpectedError {
  override name = 'NoAgentError'
}

export class AgentNotReadyError extends ExpectedError {
  override name = 'AgentNotReadyError'
}

/** Whether an agent listens on a socket. `denied`: this user may not open it; an agent may run. */
export type AgentPresence = 'answers' | 'none' | 'denied'

export async function agentPresence(path: string): Promise<AgentPresence> {
  if (path === 'none') return 'none'
  try {
    await get(path, '', AbortSignal.timeout(FIRST_ANSWER_MS))
    return 'answers'
  } catch (error) {
    if (error instanceof AgentRefusedError || error instanceof AgentNotReadyError) return 'answers'
    return error instanceof Error && 'code' in error && error.code === 'EACCES' ? 'denied' : 'none'
  }
}

export function deniedAt(path: string): string {
  return `not asked: this user may not open '${path}'; run it as root`
}

/** The status of the agent behind the socket, if its lease is the one that the view has for this host. */
export async function readAgentFacts(
  path: string,
  view: NodeView,
  signal: AbortSignal,
): Promise<AgentFacts | AgentSilence | undefined> {
  const presence = await agentPresence(path)
  if (presence === 'denied') return { kind: 'unasked', why: deniedAt(path) }
  if (path === 'none') return { kind: 'unasked', why: 'not asked: --local-socket is none' }
  if (presence === 'none') return undefined
  try {
    return factsIn(await agentAt(path).status(signal), view, path)
  } catch (error) {
    if (error instanceof AgentNotReadyError) return { kind: 'waiting', why: `waits: ${error.message}` }
    return { kind: 'unasked', why: `not asked: ${messageOf(error)}` }
  }
}

function factsIn(
  { agent, lease, troubles, firewall, store }: StatusDocument,
  { self }: NodeView,
  path: string,
): AgentFacts | AgentSilence | undefined {
  if (agent === null) return undefined
  if (self === undefined || lease !== printLease(self))
    return { kind: 'unasked', why: `not asked: the agent at '${path}' has another lease: ${lease}` }
  const seconds = store?.lastContactSeconds ?? undefined
  const lastContactMs = seconds === undefined ? undefined : Date.now() - seconds * 1000
  const known = { lastContactMs, trouble: store?.trouble ?? undefined }
  return { kind: 'answers', ...agent, notReady: troubles, firewall: firewall ?? '', store: known }
}

export function agentAt(path: string): NodeDocuments {
  const ask = <T>(document: string, signal: AbortSignal) => get<T>(path, document, signal)
  return {
    status: signal => ask('status', signal),
    map: (signal, mostTimes = SOME_TIMES) => ask(`map?times=${mostTimes}`, signal),
    diff: signal => ask('diff', signal),
    doctor: signal => ask('doctor', signal),
    peers: signal => ask('peers', signal),
    probe: (peer, signal) => ask(`probe?${new URLSearchParams({ peer })}`, signal),
    trace: (from, to, signal) => ask(`trace?${new URLSearchParams({ from, to })}`, signal),
  }
}

/** One document over the socket. Throws AgentRefusedError with the agent's text; others if none listens. */
export function get<T>(path: string, document: string, signal: AbortSignal, method = 'GET'): Promise<T> {
  return new Promise((resolve, reject) => {
    const options = { socketPath: path, path: `/${document}`, method, signal }
    const asked = request(options, response => {
      const Refusal = response.statusCode === 503 ? AgentNotReadyError : AgentRefusedError
      text(response).then(body => {
        try {
          const value = JSON.parse(body)
          if (response.statusCode === 200) resolve(value)
          else reject(new Refusal(String(value.error)))
        } catch (error) {
          reject(new AgentRefusedError(`the agent's answer cannot be read: ${messageOf(error)}`))
        }
      }, reject)
    })
    asked.on('error', reject)
    asked.end()
  })
}
