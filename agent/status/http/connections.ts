import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Most connections from other hosts and pods, and from this host. */
const MOST = { foreign: 64, own: 256 }

/** Closes the one idle for longest. Outside clients cannot displace the kubelet, which is counted apart. */
export function boundConnections(server: Server): void {
  // In the order of the last request.
  const groups = { foreign: new Set<Socket>(), own: new Set<Socket>() }
  server.on('connection', (socket: Socket) => {
    const name = isOfThisHost(socket) ? 'own' : 'foreign'
    const sockets = groups[name].add(socket)
    socket.once('close', () => sockets.delete(socket))
    const [oldest] = sockets
    if (sockets.size > MOST[name]) oldest?.destroy()
  })
  server.on('request', ({ socket }) => {
    for (const sockets of Object.values(groups)) if (sockets.delete(socket)) sockets.add(socket)
  })
}

const answering = new WeakSet<Socket>()

/**
 * Whether to answer this request. Closes the connection of a client that sends a request before it has got
 * the answer to its last one: no probe does so, and answers that a client does not read would fill this
 * process's memory.
 */
export function admitsRequest({ socket }: IncomingMessage, response: ServerResponse): boolean {
  // Node.js still passes on the requests that it has read from a connection before this function closed it.
  if (socket.destroyed) return false
  if (answering.has(socket)) {
    socket.destroy()
    return false
  }
  answering.add(socket)
  response.once('close', () => answering.delete(socket))
  return true
}

/** Connections of a host to its own address come from that address. */
export function isOfThisHost({ remoteAddress, localAddress }: Socket): boolean {
  return remoteAddress !== undefined && remoteAddress === localAddress
}
