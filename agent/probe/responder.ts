import { createServer, type Server, type Socket } from 'node:net'
import { messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { Ip } from '../../lease/net/ip.ts'

export interface ResponderOptions {
  readonly port: number
  /** This node's own addresses in the overlay; asked again from time to time, as a lease may change. */
  readonly addresses: () => readonly Ip[]
  /** Whether an address of the overlay is an admitted peer's. */
  readonly isPeer: (ip: Ip) => boolean
  readonly log: Log
}

/** How often the addresses are compared with those that are listened on. */
const REVIEW_MS = 5_000
/** Of one probe, and of all probes in a minute: a transfer shows a fault long before. */
const LARGEST_TRANSFER = 4 * 1024 * 1024
const BYTES_A_MINUTE = 64 * 1024 * 1024
const PROBE_MS = 10_000

/**
 * Answers the bulk transfers of peers' probes, on this node's address inside the overlay only: four bytes that give a length
 * (big endian), that many bytes, and `ok` back. Who is no admitted peer is not answered.
 */
export async function answerProbes(options: ResponderOptions, signal: AbortSignal): Promise<never> {
  const servers = new Map<Ip, Server>()
  const budget = new Budget()
  try {
    for (;;) {
      const wanted = new Set(options.addresses())
      for (const [address, server] of servers) {
        if (wanted.has(address) && server.listening) continue
        server.close()
        servers.delete(address)
      }
      for (const address of wanted)
        if (!servers.has(address)) servers.set(address, listen(address, options, budget))
      await sleep(REVIEW_MS, signal)
    }
  } finally {
    for (const server of servers.values()) server.close()
  }
}

/** An address that is not there yet, or a port that is taken, is tried again at the next review. */
function listen(address: Ip, { port, isPeer, log }: ResponderOptions, budget: Budget): Server {
  const server = createServer(socket => {
    if (!isPeer(socket.remoteAddress as Ip)) socket.destroy()
    else receive(socket, budget)
  })
  server.maxConnections = 4
  server.on('error', error => log.debug({ address, port }, `probes are not answered: ${messageOf(error)}`))
  server.listen({ host: address, port })
  server.unref()
  return server
}

function receive(socket: Socket, budget: Budget): void {
  let expected: number | undefined
  let head = Buffer.alloc(0)
  let received = 0
  socket.setTimeout(PROBE_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', data => {
    received += data.length
    if (!budget.spend(data.length)) return socket.destroy()
    if (expected === undefined) {
      head = Buffer.concat([head, data])
      if (head.length < 4) return undefined
      expected = head.readUInt32BE(0)
      if (expected > LARGEST_TRANSFER) return socket.destroy()
    }
    return received >= expected + 4 ? socket.end('ok') : undefined
  })
}

class Budget {
  #left = BYTES_A_MINUTE
  #sinceMs = performance.now()

  spend(bytes: number): boolean {
    const nowMs = performance.now()
    if (nowMs - this.#sinceMs >= 60_000) {
      this.#left = BYTES_A_MINUTE
      this.#sinceMs = nowMs
    }
    this.#left -= bytes
    return this.#left >= 0
  }
}
