import type { Budget } from '../../lease/common/budget.ts'
import { ExpectedError, isUnexpected, messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import { printable } from '../../lease/common/printable.ts'
import type { Ip } from '../../lease/net/ip.ts'
import { ask } from './ask_peer.ts'
import { parseQuestion, type Question } from './question.ts'

/** Facts and functions with which an agent answers its peers' questions. */
export interface QuestionSource {
  /** This node's own address in the overlay, which received the question. */
  readonly own: Ip
  readonly port: number
  readonly isPeer: (ip: Ip) => boolean
  readonly budget: Budget
  /** The way of a packet from this node's pods to a peer's. */
  readonly trace: (from: Ip, to: Ip, signal: AbortSignal) => Promise<object>
  /** Datagrams that arrived in a session of this peer. Also sends some datagrams to the peer's port. */
  readonly heard: (question: Extract<Question, { ask: 'heard' }>) => number
  readonly log: Log
}

const ANSWER_MS = 8_000

/** One line of JSON, also for an invalid question. Questions change nothing. */
export async function answerQuestion(line: string, source: QuestionSource): Promise<string> {
  try {
    return `${JSON.stringify(await answerOf(line, source, AbortSignal.timeout(ANSWER_MS)))}\n`
  } catch (error) {
    if (isUnexpected(error)) source.log.warn({ error }, 'cannot answer a question of a peer')
    return `${JSON.stringify({ error: printable(messageOf(error)) })}\n`
  }
}

async function answerOf(line: string, source: QuestionSource, signal: AbortSignal): Promise<object> {
  const question = parseQuestion(line)
  if (question === undefined) throw new ExpectedError('this agent does not know the question')
  if (!source.budget.spend(1)) throw new ExpectedError('it was asked too often: ask again in a minute')
  const { via, ...plain } = question
  if (via !== undefined) {
    // The next agent gets no `via`: a question is passed on only once.
    if (!source.isPeer(via)) throw new ExpectedError(`${via} is no peer of the asked agent`)
    return Object.fromEntries(await ask(via, { from: source.own, port: source.port }, plain, signal))
  }
  if (plain.ask === 'trace') return await source.trace(plain.from, plain.to, signal)
  if (!source.isPeer(plain.address)) throw new ExpectedError(`${plain.address} is no peer`)
  return { received: source.heard(plain) }
}
