import { connect, createServer, type Server, type Socket } from 'node:net'

/** A proxy between a client and a server on this host, which forwards everything with a delay. */
export class TcpProxy {
  /** Delay of each direction, in ms. */
  delayMs = 0
  /** From the first request on that contains this text, no answer of that connection is forwarded. */
  muteAfter: string | undefined
  /** Connections accepted so far. */
  connections = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
  }

  static async open(targetPort: number, port = 0): Promise<TcpProxy> {
    const server = createServer()
    const proxy = new TcpProxy(server)
    server.on('connection', client => {
      proxy.connections++
      const upstream = connect(targetPort, '127.0.0.1')
      let isMute = false
      proxy.#join(client, upstream, data => {
        isMute ||= proxy.muteAfter !== undefined && data.includes(proxy.muteAfter)
        return true
      })
      proxy.#join(upstream, client, () => !isMute)
    })
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
    return proxy
  }

  get port(): number {
    const address = this.#server.address()
    if (typeof address === 'object' && address) return address.port
    throw new Error('the proxy is closed')
  }

  /** Ends all connections; new ones are accepted. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.cut()
    this.#server.close()
  }

  /** Forwards what `passes` returns true for. */
  #join(from: Socket, to: Socket, passes: (data: Buffer) => boolean): void {
    this.#sockets.add(from)
    from.on('data', data => {
      if (passes(data)) setTimeout(() => to.writable && to.write(data), this.delayMs)
    })
    from.on('close', () => {
      this.#sockets.delete(from)
      setTimeout(() => to.destroy(), this.delayMs)
    })
    from.on('error', () => to.destroy())
  }
}
