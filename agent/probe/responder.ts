import type { Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import { Budget } from '../../lease/common/budget.ts'
import { messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { WakeUp } from '../../lease/common/wake_up.ts'
import { familyOf, type Ip } from '../../lease/net/ip.ts'
import { answerQuestion, type QuestionSource } from './answer_question.ts'
import { udpSocket } from './datagram.ts'
import { COUNTED_BELOW, decodeEcho, ECHO_HEADER, encodeEcho } from './echo.ts'
import { neverFragment } from './never_fragment.ts'
import { LONGEST_QUESTION, QUESTION, type Question } from './question.ts'

export interface ResponderOptions {
  readonly port: number
  /** This node's own addresses in the overlay; read again once `addressesChanged` is set. */
  readonly addresses: () => readonly Ip[]
  readonly addressesChanged: WakeUp
  readonly isPeer: (ip: Ip) => boolean
  /** As QuestionSource has it. */
  readonly trace: QuestionSource['trace']
  readonly log: Log
}

/** Time until an address that is missing, or whose port is taken, is tried again. */
const AGAIN_MS = 5_000
/** Limits for one probe, and for all probes: probes that find a fault need far less. */
const LARGEST_TRANSFER = 4 * 1024 * 1024
const BYTES = { most: 64 * 1024 * 1024, perSecond: 1024 * 1024 } as const
/** A question may read all of this host's network state. */
const QUESTIONS = { most: 20, perSecond: 1 } as const
const PROBE_MS = 10_000
const SESSIONS = 256
const LARGEST_ANSWER = 9_216
/** Datagrams sent for a question `heard`: more than one, as some may be lost. */
const UNASKED = 5

interface Listening {
  readonly tcp: Server
  readonly udp: UdpSocket
  hasFailed: boolean
}

/**
 * Answers peers' probes, only on this node's address inside the overlay: over UDP each datagram, over TCP a
 * bulk transfer (four bytes of length, big endian, that many bytes, and `ok` back) or a question. Only
 * admitted peers get an answer.
 */
export async function answerProbes(options: ResponderOptions, signal: AbortSignal): Promise<never> {
  const open = new Map<Ip, Listening>()
  const budgets = { bytes: new Budget(BYTES), questions: new Budget(QUESTIONS) }
  const close = (address: Ip, { tcp, udp }: Listening) => {
    tcp.close()
    udp.close()
    open.delete(address)
  }
  try {
    for (;;) {
      const wanted = new Set(options.addresses())
      for (const [address, one] of open) if (one.hasFailed || !wanted.has(address)) close(address, one)
      for (const own of wanted) if (!open.has(own)) open.set(own, listen(own, options, budgets))
      await options.addressesChanged.wait(Number.POSITIVE_INFINITY, signal)
      if ([...open.values()].some(({ hasFailed }) => hasFailed)) await sleep(AGAIN_MS, signal)
    }
  } finally {
    for (const [address, one] of open) close(address, one)
  }
}

/** Sets `hasFailed` if the address is missing or the port is taken. */
function listen(
  own: Ip,
  options: ResponderOptions,
  budgets: Record<'bytes' | 'questions', Budget>,
): Listening {
  const { port, isPeer, trace, log } = options
  const udp = udpSocket(own)
  const sessions = new Sessions()
  const heard: QuestionSource['heard'] = question => sendUnasked(udp, sessions, question)
  const source = { own, port, isPeer, budget: budgets.questions, trace, heard, log }
  const tcp = createServer(socket => {
    if (!isPeer(socket.remoteAddress as Ip)) socket.destroy()
    else receive(socket, source, budgets.bytes)
  })
  tcp.maxConnections = 4
  answerDatagrams(udp, sessions, isPeer, budgets.bytes)
  const listening: Listening = { tcp, udp, hasFailed: false }
  const fail = (error: Error) => {
    listening.hasFailed = true
    options.addressesChanged.set()
    log.debug({ address: own, port }, `probes are not answered: ${messageOf(error)}`)
  }
  tcp.on('error', fail)
  udp.on('error', fail)
  tcp.listen({ host: own, port }).unref()
  udp.bind({ address: own, port }, () => void neverFragment(udp, familyOf(own)).catch(fail))
  udp.unref()
  return listening
}

function answerDatagrams(udp: UdpSocket, sessions: Sessions, isPeer: (ip: Ip) => boolean, budget: Budget) {
  udp.on('message', (message, { address, port }) => {
    const echo = decodeEcho(message)
    if (echo === undefined || !isPeer(address as Ip)) return
    const answerSize = Math.min(echo.answerSize, LARGEST_ANSWER)
    if (!budget.spend(message.length + answerSize)) return
    const received = sessions.count(address, echo.session, echo.number)
    udp.send(encodeEcho({ ...echo, received }, answerSize), port, address, () => {})
  })
}

/** Sends datagrams without a request: those that arrive show the peer that the way to it works. */
function sendUnasked(
  udp: UdpSocket,
  sessions: Sessions,
  { address, port, session }: Extract<Question, { ask: 'heard' }>,
): number {
  const received = sessions.received(address, session)
  for (let number = COUNTED_BELOW; number < COUNTED_BELOW + UNASKED; number++)
    udp.send(encodeEcho({ number, answerSize: 0, session, received }, ECHO_HEADER), port, address, () => {})
  return received
}

/** Numbers of the counted datagrams that arrived, by peer and session. */
class Sessions {
  readonly #seen = new Map<string, Set<number>>()

  /** Counts a number once. Returns how many of the session have arrived. */
  count(address: string, session: number, number: number): number {
    const key = `${address} ${session}`
    const seen = this.#seen.get(key) ?? new Set()
    if (number < COUNTED_BELOW) seen.add(number)
    this.#seen.delete(key)
    this.#seen.set(key, seen)
    const [oldest = ''] = this.#seen.keys()
    if (this.#seen.size > SESSIONS) this.#seen.delete(oldest)
    return seen.size
  }

  received(address: string, session: number): number {
    return this.#seen.get(`${address} ${session}`)?.size ?? 0
  }
}

/** Counts and drops the bytes of a transfer; keeps the line of a question. */
function receive(socket: Socket, source: QuestionSource, budget: Budget): void {
  let head = Buffer.alloc(0)
  let received = 0
  let isTaken = false
  socket.setTimeout(PROBE_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', data => {
    received += data.length
    if (!budget.spend(data.length)) return socket.destroy()
    if (isTaken) return undefined
    const isAsked = head.length >= 4 && head.readUInt32BE(0) === QUESTION
    if (head.length < 4 || isAsked) head = Buffer.concat([head, data])
    if (head.length < 4) return undefined
    const expected = head.readUInt32BE(0)
    if (expected === QUESTION) {
      isTaken = take(head.subarray(4), socket, source)
      return undefined
    }
    if (expected > LARGEST_TRANSFER) return socket.destroy()
    return received >= expected + 4 ? socket.end('ok') : undefined
  })
}

/** Answers the question once its line is complete; returns whether it is. */
function take(text: Buffer, socket: Socket, source: QuestionSource): boolean {
  const end = text.indexOf('\n')
  if (end < 0 && text.length > LONGEST_QUESTION) socket.destroy()
  if (end < 0) return false
  void answerQuestion(text.toString('utf8', 0, end), source).then(line => socket.end(line))
  return true
}
