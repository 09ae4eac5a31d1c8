import { randomInt } from 'node:crypto'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { sleep } from '../../lease/common/sleep.ts'
import { familyOf, type Ip } from '../../lease/net/ip.ts'
import type { DeadWays, OneWay, ProbeTarget } from '../diagnose/probes/probe_result.ts'
import { askThroughOthers } from './ask_peer.ts'
import { largestPassing, udpHeaders, udpSocket } from './datagram.ts'
import { COUNTED_BELOW, decodeEcho, ECHO_HEADER, type Echo, encodeEcho } from './echo.ts'
import { neverFragment } from './never_fragment.ts'

/** Number of small, counted datagrams, and the time between them. */
const COUNTED = 20
const APART_MS = 10
/** Time-out of an answer, and tries for each size: enough at a loss of a third. */
const ANSWER_MS = 400
const TRIES = 3

interface Target {
  readonly to: Ip
  readonly from: Ip
  readonly port: number
  readonly overlayMtu: number
}

/** The peer's agent is asked through another node; undefined if none gets an answer from it. */
export async function deadWays(target: ProbeTarget, signal: AbortSignal): Promise<DeadWays | undefined> {
  // Without this node's own address in the overlay nothing can be sent.
  const asker = await Asker.open({ ...target, to: target.overlayIp }).catch(() => undefined)
  if (asker === undefined) return undefined
  try {
    await asker.sendCounted(signal)
    const question = { ask: 'heard', address: target.from, ...asker.place } as const
    const report = await askThroughOthers(target, question, signal)
    if (report === undefined) return undefined
    // The peer's datagrams take another way than its report and may arrive later.
    for (let i = 0; i < TRIES && asker.answered.size === 0; i++) await sleep(ANSWER_MS, signal)
    return { there: report.answer.get('received') === 0, back: asker.answered.size === 0, via: report.via }
  } finally {
    asker.close()
  }
}

/** Undefined if no agent answers. At most about 10 s, and 100 KB. */
export async function oneWay(target: Target, signal: AbortSignal): Promise<OneWay | undefined> {
  const count = () => withAsker(target, asker => countLoss(asker, signal))
  const first = await count()
  if (first === undefined) return undefined
  // Packets were lost: counts again, as the peer's agent may just have begun to listen.
  const sum = ({ lossThere, lossBack }: Loss) => lossThere + lossBack
  const second = sum(first) === 0 ? first : ((await count()) ?? first)
  const loss = sum(first) < sum(second) ? first : second
  return await withAsker(target, async asker => {
    const headers = udpHeaders(target.to)
    const [least, most] = [ECHO_HEADER + headers, target.overlayMtu]
    const [carriesThere, carriesBack] = await Promise.all([
      largestPassing(least, most, size => asker.passes(size - headers, ECHO_HEADER, signal)),
      largestPassing(least, most, size => asker.passes(ECHO_HEADER, size - headers, signal)),
    ])
    return { ...loss, carriesThere, carriesBack }
  })
}

async function withAsker<T>(target: Target, act: (asker: Asker) => Promise<T>): Promise<T> {
  const asker = await Asker.open(target)
  try {
    return await act(asker)
  } finally {
    asker.close()
  }
}

type Loss = Pick<OneWay, 'lossThere' | 'lossBack'>

async function countLoss(asker: Asker, signal: AbortSignal): Promise<Loss | undefined> {
  await asker.sendCounted(signal)
  // Any later answer has the peer's count too, so lost answers do not matter.
  for (let i = 0; i < TRIES && asker.answered.size < COUNTED; i++)
    await asker.passes(ECHO_HEADER, ECHO_HEADER, signal)
  const { received } = asker
  const answers = [...asker.answered].filter(number => number < COUNTED).length
  if (received === 0) return undefined
  return { lossThere: 1 - received / COUNTED, lossBack: Math.max(0, 1 - answers / received) }
}

class Asker {
  readonly answered = new Set<number>()
  received = 0
  readonly #socket: Socket
  readonly #target: Target
  readonly #session = randomInt(1, 2 ** 32)
  readonly #waiting = new Map<number, () => void>()
  #next = COUNTED_BELOW

  static async open(target: Target): Promise<Asker> {
    const socket = udpSocket(target.to)
    try {
      socket.bind({ address: target.from })
      await once(socket, 'listening')
      await neverFragment(socket, familyOf(target.to))
      return new Asker(socket, target)
    } catch (error) {
      socket.close()
      throw error
    }
  }

  constructor(socket: Socket, target: Target) {
    this.#socket = socket
    this.#target = target
    // An ICMP error, as for a closed port, counts as no answer.
    socket.on('error', () => {})
    socket.on('message', (message, { address }) => {
      const echo = decodeEcho(message)
      if (echo?.session === this.#session && address === target.to) this.#hear(echo)
    })
  }

  /** The port and session to which the peer sends its datagrams. */
  get place(): { readonly port: number; readonly session: number } {
    return { port: this.#socket.address().port, session: this.#session }
  }

  /** `received` is the peer's word: it cannot have received more than was sent. */
  #hear({ number, received }: Echo): void {
    this.answered.add(number)
    this.received = Math.max(this.received, Math.min(received, COUNTED))
    this.#waiting.get(number)?.()
  }

  async sendCounted(signal: AbortSignal): Promise<void> {
    for (let number = 0; number < COUNTED; number++) {
      this.#send(number, ECHO_HEADER, ECHO_HEADER)
      await sleep(APART_MS, signal)
    }
  }

  #send(number: number, size: number, answerSize: number): void {
    const message = encodeEcho({ number, answerSize, session: this.#session, received: 0 }, size)
    // An error means: too large for this host's own device. Counts as lost.
    this.#socket.send(message, this.#target.port, this.#target.to, () => {})
  }

  /** Whether at least one of several datagrams and its answer arrive. */
  async passes(size: number, answerSize: number, signal: AbortSignal): Promise<boolean> {
    for (let i = 0; i < TRIES; i++) {
      signal.throwIfAborted()
      const number = this.#next++
      const heard = new Promise<true>(resolve => this.#waiting.set(number, () => resolve(true)))
      this.#send(number, size, answerSize)
      if (await Promise.race([heard, sleep(ANSWER_MS, signal).then(() => false)])) return true
    }
    return false
  }

  close(): void {
    this.#socket.close()
  }
}
