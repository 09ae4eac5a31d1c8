import { createSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'

/** Both over the same ports: UDP for losses, TCP for stalls. */
const PORT = 5201
const RECEIVE_BYTES = 8 * 2 ** 20
/** A stream that is stuck is given up after that. */
const STREAM_END_MS = 5_000
/** The time between the last datagram that was sent and the question how many came is no gap. */
const QUIET_END_MS = 1_000

/** Since the last call. */
export interface Received {
  readonly datagrams: number
  /** The longest time without a datagram, which may still run; infinite where none came. */
  readonly longestGapMs: number
  /** The longest time in which nothing came of the stream. */
  readonly longestStallMs: number
}

/** Sends and receives in a pod. */
export interface TrafficJob {
  readonly [act: string]: (...words: never[]) => unknown
  listen(): Promise<void>
  /** Numbered datagrams and a TCP stream, `perSecond` of each, until `count` are sent or stop() is called; how many that were. */
  send(to: string, count: number, perSecond: number): Promise<number>
  stop(): void
  received(): Received
}

export function trafficJob(): TrafficJob {
  const numbers = new Set<number>()
  let stopped = false
  let datagramMs: number | undefined
  let longestGapMs = 0
  let lastMs: number | undefined
  let longestStallMs = 0

  async function listen(): Promise<void> {
    const udp = createSocket({ type: 'udp6', recvBufferSize: RECEIVE_BYTES })
    udp.on('message', message => {
      numbers.add(message.readUInt32LE(0))
      const now = performance.now()
      longestGapMs = Math.max(longestGapMs, now - (datagramMs ?? now))
      datagramMs = now
    })
    await new Promise<void>(resolve => udp.bind(PORT, '::', resolve))
    const tcp = createServer(socket => {
      lastMs = undefined
      socket.on('error', () => {})
      socket.on('data', () => {
        const now = performance.now()
        if (lastMs !== undefined) longestStallMs = Math.max(longestStallMs, now - lastMs)
        lastMs = now
      })
    })
    await new Promise<void>(resolve => tcp.listen(PORT, '::', resolve))
  }

  async function send(to: string, count: number, perSecond: number): Promise<number> {
    const udp = createSocket(to.includes(':') ? 'udp6' : 'udp4')
    const tcp = connect({ host: to, port: PORT, noDelay: true })
    tcp.on('error', () => {})
    // A socket that is not read never closes.
    tcp.resume()
    await new Promise(resolve => tcp.once('connect', resolve))
    stopped = false
    const started = performance.now()
    let sent = 0
    await new Promise<void>(resolve => {
      const timer = setInterval(() => {
        const due = Math.min(count, ((performance.now() - started) * perSecond) / 1000)
        for (; sent < due; sent++) {
          const message = Buffer.alloc(64)
          message.writeUInt32LE(sent)
          // An error is a loss: nothing is sent twice.
          udp.send(message, PORT, to, () => {})
          tcp.write(message)
        }
        if (sent < count && !stopped) return
        clearInterval(timer)
        resolve()
      }, 1)
    })
    // What the stream still has on its way ends in order: a stall at the very end shows too.
    const giveUp = setTimeout(() => tcp.destroy(), STREAM_END_MS)
    await new Promise(resolve => tcp.once('close', resolve).end())
    clearTimeout(giveUp)
    udp.close()
    return sent
  }

  function received(): Received {
    const sinceMs = datagramMs === undefined ? Number.POSITIVE_INFINITY : performance.now() - datagramMs
    const runningMs = sinceMs > QUIET_END_MS ? sinceMs : 0
    const seen = {
      datagrams: numbers.size,
      longestGapMs: Math.max(longestGapMs, runningMs),
      longestStallMs,
    }
    numbers.clear()
    datagramMs = undefined
    longestGapMs = 0
    longestStallMs = 0
    return seen
  }

  return {
    listen,
    send,
    stop() {
      stopped = true
    },
    received,
  }
}
