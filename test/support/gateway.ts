import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import type { Namespace } from './namespace.ts'

/**
 * Lets processes in a bed reach a port of this process. The bed's namespaces have no route out of it, but
 * they share the file system. In each namespace 127.0.0.1 then has the same port.
 */
export class Gateway {
  readonly #server: Server
  readonly #path: string
  readonly #port: number

  private constructor(server: Server, path: string, port: number) {
    this.#server = server
    this.#path = path
    this.#port = port
  }

  static async open(directory: string, port: number): Promise<Gateway> {
    const path = join(directory, `gateway-${port}.sock`)
    const server = createServer({ noDelay: true }, client => {
      const target = connect({ port, host: '127.0.0.1', noDelay: true })
      client.pipe(target).pipe(client)
      client.on('error', () => target.destroy())
      target.on('error', () => client.destroy())
    })
    await new Promise<void>(resolve => server.listen(path, resolve))
    return new Gateway(server, path, port)
  }

  /** Ready when it resolves; ends with the bed. */
  async lead(from: Namespace): Promise<void> {
    const script = [
      "const net = require('node:net')",
      `net.createServer({ noDelay: true }, client => { const far = net.connect(${JSON.stringify(this.#path)})`,
      "client.pipe(far).pipe(client); client.on('error', () => far.destroy()); far.on('error', () => client.destroy()) })",
      `.listen(${this.#port}, '127.0.0.1', () => console.log('listening'))`,
    ].join('\n')
    await from.spawn([process.execPath, '-e', script], { name: 'gateway' }).says(/listening/)
  }

  close(): void {
    this.#server.close()
  }
}
