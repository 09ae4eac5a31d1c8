import { createServer, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'

/** An HTTP proxy on this host that forwards connections made with CONNECT. */
export class ConnectProxy {
  /** Each request: `host:port` and its Proxy-Authorization. */
  readonly asked: string[] = []
  answer: 200 | 407 = 200
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
    server.on('connect', (request, client: Socket) => {
      this.asked.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`)
      if (this.answer === 407) {
        client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
        return
      }
      const [host, port] = (request.url ?? '').split(':')
      const upstream = connect(Number(port), host, () => client.write('HTTP/1.1 200 OK\r\n\r\n'))
      for (const one of [client, upstream]) this.#sockets.add(one.on('error', () => {}))
      upstream.pipe(client).pipe(upstream)
    })
  }

  static async open(): Promise<ConnectProxy> {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return new ConnectProxy(server)
  }

  /** The proxy's URL, with user `u` and password `s3cret`. */
  get url(): string {
    const address = this.#server.address()
    if (typeof address === 'object' && address) return `http://u:s3cret@127.0.0.1:${address.port}`
    throw new Error('the proxy is closed')
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}
