import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { asError, orUndefined } from '../../../lease/common/errors.ts'
import { type Libc, loadLibc } from './libc.ts'

/** #define NETLINK_ROUTE 0 */
const NETLINK_ROUTE = 0
/** #define SOL_SOCKET 1, SO_RCVBUF 8, SO_RCVBUFFORCE 33, SO_MEMINFO 55 */
const SOL_SOCKET = 1
const SO_RCVBUF = 8
const SO_RCVBUFFORCE = 33
const SO_MEMINFO = 55
/** SK_MEMINFO_RMEM_ALLOC, _RCVBUF and _DROPS: the 1st, 2nd and 9th of the u32 that SO_MEMINFO fills */
const SK_MEMINFO_RMEM_ALLOC = 0
const SK_MEMINFO_RCVBUF = 1
const SK_MEMINFO_DROPS = 8
/** #define SOL_NETLINK 270 */
const SOL_NETLINK = 270
const NETLINK_NO_ENOBUFS = 5
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12

/**
 * Datagrams read in one turn of the event loop: notifications may arrive as fast as they are read, and those
 * of our own entries must not hold up the next entries. Only a queue that is half full is read at once.
 */
const MAX_DATAGRAMS = 100
/** The kernel sends at most 32 KB of a dump at a time (netlink_recvmsg(), netlink_dump()). */
const DATAGRAM_BYTES = 64 * 1024
/** struct sockaddr_nl { sa_family_t nl_family; unsigned short nl_pad; __u32 nl_pid; __u32 nl_groups; }; */
const SOCKADDR_NL = 12
const NL_PID = 4

export interface RawSocketEvents {
  /** Called with one or more messages, valid until this returns. An exception fails the socket. */
  onDatagram(datagram: Buffer): void
  onFailure(error: Error): void
}

export interface RawSocket {
  /** Returns once the kernel has handled the whole datagram. Throws LibcError. */
  send(datagram: Buffer): void
  /** Passes all that the kernel has sent so far to onDatagram: answers need no turn of the event loop. */
  receive(): void
  /** Throws where the kernel refuses the group. */
  join(group: number): void
  /** Whether everything that the kernel has sent so far was read. */
  isEmpty(): boolean
  /** How many messages the kernel has dropped for lack of room since the socket was opened. */
  drops(): number
  /** Whether the open socket keeps the process alive. */
  ref(alive: boolean): void
  close(): void
}

export type OpenRawSocket = (events: RawSocketEvents, receiveBytes: number) => RawSocket

/**
 * Loads the addon, which needs the main thread, and ends the process by SIGABRT on a receive overrun or where
 * a callback throws: so NETLINK_NO_ENOBUFS is set (the kernel only counts drops), and each callback has a
 * `try`.
 */
export async function loadRawSocket(): Promise<OpenRawSocket> {
  const [{ default: addon }, libc] = await Promise.all([import('netlink/dist/raw.js'), loadLibc()])
  const read = datagramReader(libc)
  return (events, receiveBytes) => {
    const native = new addon.RawNetlinkSocket(NETLINK_ROUTE)
    try {
      const fd = findSocket(native.address().port)
      setOptions(libc, fd, receiveBytes)
      const incoming = new Incoming(events)
      native.on('error', error => incoming.fail(error))
      const isHalfFull = () =>
        2 * readMemory(libc, fd, SK_MEMINFO_RMEM_ALLOC) > readMemory(libc, fd, SK_MEMINFO_RCVBUF)
      let hasRead = false
      // The addon allocates a buffer for each of its datagrams, 32 in one turn; read() reads the others.
      native.on('message', (datagram, { port: sender }) => {
        incoming.take(datagram, sender)
        if (hasRead) return
        hasRead = true
        setImmediate(() => {
          hasRead = false
        })
        read(fd, incoming, isHalfFull() ? Number.POSITIVE_INFINITY : MAX_DATAGRAMS)
      })
      return {
        send: datagram => libc.sendNetlink(fd, datagram),
        receive: () => read(fd, incoming, Number.POSITIVE_INFINITY),
        join: group => native.addMembership(group),
        isEmpty: () => readMemory(libc, fd, SK_MEMINFO_RMEM_ALLOC) === 0,
        drops: () => readMemory(libc, fd, SK_MEMINFO_DROPS),
        ref: alive => (alive ? native.ref() : native.unref()),
        close: () => {
          incoming.isOpen = false
          native.close()
        },
      }
    } catch (error) {
      native.close()
      throw error
    }
  }
}

/** Reads up to `most` datagrams into one buffer that all sockets share: each is handled before the next. */
function datagramReader(libc: Libc): (fd: number, incoming: Incoming, most: number) => void {
  const received = Buffer.allocUnsafeSlow(DATAGRAM_BYTES)
  const sockaddr = Buffer.alloc(SOCKADDR_NL)
  return (fd, incoming, most) => {
    for (let i = 0; i < most && incoming.isOpen; i++) {
      const length = libc.receiveNetlink(fd, received, sockaddr)
      if (length === undefined) return
      if (length > received.length) incoming.fail(new Error(`A netlink datagram has ${length} bytes`))
      else incoming.take(received.subarray(0, length), sockaddr.readUInt32LE(NL_PID))
    }
  }
}

/** Catches every exception of the callbacks: one that reached the addon would abort the process. */
class Incoming {
  isOpen = true
  readonly #events: RawSocketEvents

  constructor(events: RawSocketEvents) {
    this.#events = events
  }

  take(datagram: Buffer, sender: number): void {
    // Any privileged process can send to this socket: ignore all senders but the kernel.
    if (sender !== 0) return
    try {
      this.#events.onDatagram(datagram)
    } catch (error) {
      this.fail(error)
    }
  }

  fail(error: unknown): void {
    try {
      this.#events.onFailure(asError(error))
    } catch (cause) {
      process.emitWarning(new Error('A netlink socket failed, and so did its failure handler', { cause }))
    }
  }
}

/** The addon does not expose it: /proc/net/netlink has the port's inode, /proc/self/fd its descriptor. */
function findSocket(port: number): number {
  // sk  Eth Pid  Groups  Rmem  Wmem  Dump  Locks  Drops  Inode
  for (const line of readFileSync('/proc/self/net/netlink', 'latin1').split('\n')) {
    const words = line.trim().split(/\s+/)
    if (words[1] !== `${NETLINK_ROUTE}` || words[2] !== `${port}`) continue
    // A descriptor may be closed meanwhile, as the one of the directory listing.
    const linkOf = (fd: string) => orUndefined(() => readlinkSync(`/proc/self/fd/${fd}`))
    const fd = readdirSync('/proc/self/fd').find(fd => linkOf(fd) === `socket:[${words[9]}]`)
    if (fd !== undefined) return Number(fd)
  }
  throw new Error(
    `Cannot find the netlink socket with port ${port} in /proc/self/net/netlink and /proc/self/fd`,
  )
}

function setOptions(libc: Libc, fd: number, receiveBytes: number): void {
  libc.setSocketOption(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
  for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK])
    attempt(() => libc.setSocketOption(fd, SOL_NETLINK, option, 1))
  // A size above net.core.rmem_max needs CAP_NET_ADMIN in the first user namespace.
  if (!attempt(() => libc.setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBytes)))
    libc.setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBytes)
}

/** False where it fails: before 4.20 errors have no text, and dumps are not filtered. */
function attempt(act: () => void): boolean {
  try {
    act()
    return true
  } catch {
    return false
  }
}

function readMemory(libc: Libc, fd: number, what: number): number {
  const memory = Buffer.alloc(4 * 9)
  libc.getSocketOption(fd, SOL_SOCKET, SO_MEMINFO, memory)
  return memory.readUInt32LE(4 * what)
}
