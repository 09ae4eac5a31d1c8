import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** How many connections from other hosts and from pods are kept, and how many from this host. */
const MOST = { foreign: 64, own: 256 }

/**
 * Keeps connections to the server few: when there are too many, the one that has asked nothing for the longest time is closed.
 * Connections of this host are counted apart, so that nothing from outside keeps the kubelet from asking.
 */
export function boundConnections(server: Server): void {
  // In the order of the last question.
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

/** A process that reaches an address of its own host does so from that address. */
function isOfThisHost({ remoteAddress, localAddress }: Socket): boolean {
  return remoteAddress !== undefined && remoteAddress === localAddress
}
