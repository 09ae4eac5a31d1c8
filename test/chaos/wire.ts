import { createServer, type Server, type Socket, connect as tcpConnect } from 'node:net'

/**
 * `open`: all passes. `cut`: connections break and none is made. `held`: both ends take what they are sent and nothing
 * arrives, until it does, late. `deaf`: requests arrive and their answers do not.
 */
export type WireMode = 'open' | 'cut' | 'held' | 'deaf'

interface Pair {
  readonly near: Socket
  readonly far: Socket
}

/** The way from one agent to one etcd member: a TCP proxy whose faults are this agent's alone. */
export class Wire {
  readonly #to: { readonly host: string; readonly port: number }
  readonly #server: Server
  readonly #pairs = new Set<Pair>()
  readonly #waiting = new Set<Socket>()
  #mode: WireMode = 'open'
  #delayMs = 0

  static async open(to: { readonly host: string; readonly port: number }): Promise<Wire> {
    const wire = new Wire(to)
    await new Promise<void>((resolve, reject) => {
      wire.#server.once('error', reject)
      wire.#server.listen(0, '127.0.0.1', resolve)
    })
    return wire
  }

  private constructor(to: { readonly host: string; readonly port: number }) {
    this.#to = to
    this.#server = createServer({ allowHalfOpen: false }, near => this.#accept(near))
  }

  get endpoint(): string {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('The wire is closed')
    return `http://127.0.0.1:${address.port}`
  }

  set(mode: WireMode, delayMs = 0): void {
    this.#mode = mode
    this.#delayMs = delayMs
    if (mode === 'cut') this.#breakAll()
    for (const pair of this.#pairs) this.#flow(pair)
    if (mode !== 'open' && mode !== 'deaf') return
    for (const near of this.#waiting) this.#connect(near)
    this.#waiting.clear()
  }

  close(): void {
    this.#breakAll()
    this.#server.close()
  }

  #accept(near: Socket): void {
    near.on('error', () => near.destroy())
    if (this.#mode === 'cut') near.resetAndDestroy()
    else if (this.#mode === 'held') {
      near.pause()
      this.#waiting.add(near)
    } else this.#connect(near)
  }

  #connect(near: Socket): void {
    if (near.destroyed) return
    const far = tcpConnect(this.#to)
    const pair = { near, far }
    this.#pairs.add(pair)
    const end = () => {
      this.#pairs.delete(pair)
      near.destroy()
      far.destroy()
    }
    far.on('error', end)
    far.on('close', end)
    near.on('close', end)
    this.#carry(near, far)
    this.#carry(far, near)
    this.#flow(pair)
  }

  /** In order, each piece at least `delayMs` after it came. One timer alone: of two, the later may fire first. */
  #carry(from: Socket, to: Socket): void {
    const waiting: { readonly piece: Buffer; readonly due: number }[] = []
    const deliver = () => {
      const now = performance.now()
      for (;;) {
        const [next] = waiting
        if (next === undefined) return
        if (next.due > now) break
        to.write(next.piece)
        waiting.shift()
      }
      setTimeout(deliver, (waiting[0]?.due ?? now) - now + 1)
    }
    from.on('data', piece => {
      if (this.#delayMs === 0 && waiting.length === 0) return void to.write(piece)
      waiting.push({ piece, due: performance.now() + this.#delayMs })
      if (waiting.length === 1) deliver()
    })
  }

  #flow({ near, far }: Pair): void {
    if (this.#mode === 'held') near.pause()
    else near.resume()
    if (this.#mode === 'held' || this.#mode === 'deaf') far.pause()
    else far.resume()
  }

  #breakAll(): void {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy()
      far.resetAndDestroy()
    }
    for (const near of this.#waiting) near.resetAndDestroy()
    this.#pairs.clear()
    this.#waiting.clear()
  }
}
