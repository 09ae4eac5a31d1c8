import { connect, createServer, type Server, type Socket } from 'node:net'

/** A proxy between a client and a server on this host, which forwards everything with a delay. */
export class TcpProxy {
  /** Delay of each direction, in ms. */
  delayMs = 0
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
      proxy.#join(client, upstream)
      proxy.#join(upstream, client)
    })
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
    return proxy
  }

  get port(): number {
    const address = this.#server.address()
    if (typeof address === 'object' && address) return address.port
    throw new Error('the proxy is closed')
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.on('data', data => setTimeout(() => to.writable && to.write(data), this.delayMs))
    from.on('close', () => {
      this.#sockets.delete(from)
      setTimeout(() => to.destroy(), this.delayMs)
    })
    from.on('error', () => to.destroy())
  }
}
