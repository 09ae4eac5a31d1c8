import { ExpectedError } from '../../../lease/common/errors.ts'
import { describeErrno } from '../errno.ts'

export class LibcError extends ExpectedError {
  override name = 'LibcError'
  /** As of Node.js' own errors: `ENOBUFS`. */
  readonly code: string

  /** `errno`: positive, as in errno(3). */
  constructor(act: string, errno: number) {
    const [code, text] = describeErrno(errno)
    super(`${act}: ${text} (${code})`)
    this.code = code
  }
}

/** C library functions that Node.js does not offer. Each runs on the calling thread and throws LibcError. */
export interface Libc {
  /** setsockopt(2) with an int. */
  setSocketOption(fd: number, level: number, option: number, value: number): void
  /** getsockopt(2); returns how many bytes of `value` it filled. */
  getSocketOption(fd: number, level: number, option: number, value: Uint8Array): number
  /** mallopt(3): returns free memory at the end of the heap to the kernel from this size on. */
  trimHeapAbove(bytes: number): void
  /** malloc_trim(3): returns free memory of all threads to the kernel, within about 1 ms. */
  releaseFreeMemory(): void
  /** Sends one datagram to a unix socket: a path, or an abstract name that starts with `@` (unix(7)). */
  sendToUnixSocket(name: string, text: string): void
  /** Sends a request to a netlink family that answers at once. Returns the length of the first datagram. */
  askNetlink(protocol: number, request: Uint8Array, answer: Uint8Array): number
  /** sendto(2) to the kernel over a netlink socket. */
  sendNetlink(fd: number, datagram: Uint8Array): void
  /**
   * recvfrom(2) without waiting; `sender` gets its struct sockaddr_nl. Returns the datagram's length, also
   * where `into` cut it off; undefined: nothing to read.
   */
  receiveNetlink(fd: number, into: Uint8Array, sender: Uint8Array): number | undefined
  /** ETHTOOL_GTXCSUM: whether an interface leaves checksums of outgoing packets to the hardware. */
  txChecksum(device: string): boolean
  setTxChecksum(device: string, on: boolean): void
}

/** linux/sockios.h: SIOCETHTOOL 0x8946; linux/ethtool.h: ETHTOOL_GTXCSUM 0x16, ETHTOOL_STXCSUM 0x17 */
const SIOCETHTOOL = 0x8946
const ETHTOOL_GTXCSUM = 0x16
const ETHTOOL_STXCSUM = 0x17
/** struct ifreq { char ifr_name[IFNAMSIZ]; union { void *ifr_data; ... }; }, 40 bytes on 64-bit machines */
const IFREQ = 40
const IFNAMSIZ = 16

/** malloc.h: #define M_TRIM_THRESHOLD -1 */
const M_TRIM_THRESHOLD = -1

/** AF_UNIX 1, AF_INET 2, AF_NETLINK 16, SOCK_DGRAM 2, SOCK_RAW 3, SOCK_CLOEXEC 02000000, MSG_TRUNC 0x20 */
const AF_UNIX = 1
const AF_INET = 2
const AF_NETLINK = 16
const SOCK_DGRAM = 2
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const MSG_TRUNC = 0x20
const MSG_DONTWAIT = 0x40

type Koffi = typeof import('koffi').default
type Library = ReturnType<Koffi['load']>

/** Loads koffi, which takes some MB of memory: call it only where it is needed. */
export async function loadLibc(): Promise<Libc> {
  const { default: koffi } = await import('koffi')
  const library = koffi.load('libc.so.6')
  return {
    ...socketOptions(koffi, library),
    ...heap(library),
    ...datagrams(koffi, library),
    ...checksumOffload(koffi, library),
  }
}

function socketOptions(koffi: Koffi, library: Library): Pick<Libc, 'setSocketOption' | 'getSocketOption'> {
  const setsockopt = library.func('int setsockopt(int, int, int, const int32_t *, uint32_t)')
  const getsockopt = library.func('int getsockopt(int, int, int, uint8_t *, _Inout_ uint32_t *)')
  const check = (act: string, result: number) => {
    if (result !== 0) throw new LibcError(act, koffi.errno())
  }
  return {
    setSocketOption(fd, level, option, value) {
      const act = `Cannot set socket option ${level}/${option} to ${value}`
      check(act, setsockopt(fd, level, option, [value], 4))
    },
    getSocketOption(fd, level, option, value) {
      const length = [value.length]
      check(`Cannot get socket option ${level}/${option}`, getsockopt(fd, level, option, value, length))
      return length[0] ?? 0
    },
  }
}

function heap(library: Library): Pick<Libc, 'trimHeapAbove' | 'releaseFreeMemory'> {
  const mallopt = library.func('int mallopt(int, int)')
  const mallocTrim = library.func('int malloc_trim(size_t)')
  return {
    trimHeapAbove: bytes => mallopt(M_TRIM_THRESHOLD, bytes),
    releaseFreeMemory: () => mallocTrim(0),
  }
}

function datagrams(
  koffi: Koffi,
  library: Library,
): Pick<Libc, 'sendToUnixSocket' | 'askNetlink' | 'sendNetlink' | 'receiveNetlink'> {
  const sendto = library.func('int64_t sendto(int, const uint8_t *, size_t, int, const uint8_t *, uint32_t)')
  const recv = library.func('int64_t recv(int, _Out_ uint8_t *, size_t, int)')
  const recvfrom = library.func(
    'int64_t recvfrom(int, uint8_t *, size_t, int, uint8_t *, _Inout_ uint32_t *)',
  )
  const withSocket = socketForOneCall(koffi, library)
  const send = (fd: number, datagram: Uint8Array, address: Uint8Array) =>
    Number(sendto(fd, datagram, datagram.length, 0, address, address.length))
  // struct sockaddr_nl with zeros except for the family: the address of the kernel.
  const kernel = Buffer.alloc(12)
  kernel.writeUInt16LE(AF_NETLINK)
  return {
    sendToUnixSocket(name, text) {
      const address = Buffer.from(`\0\0${name.startsWith('@') ? `\0${name.slice(1)}` : name}`)
      address.writeUInt16LE(AF_UNIX)
      withSocket(`Cannot send to the socket ${name}`, [AF_UNIX, SOCK_DGRAM, 0], fd =>
        send(fd, Buffer.from(text), address),
      )
    },
    askNetlink(protocol, request, answer) {
      return withSocket(`Cannot ask netlink family ${protocol}`, [AF_NETLINK, SOCK_RAW, protocol], fd => {
        const sent = send(fd, request, kernel)
        return sent < 0 ? sent : Number(recv(fd, answer, answer.length, MSG_DONTWAIT))
      })
    },
    sendNetlink(fd, datagram) {
      if (send(fd, datagram, kernel) < 0) throw new LibcError('Cannot send a netlink message', koffi.errno())
    },
    receiveNetlink(fd, into, sender) {
      const flags = MSG_DONTWAIT | MSG_TRUNC
      const length = Number(recvfrom(fd, into, into.length, flags, sender, [sender.length]))
      return length < 0 ? undefined : length
    },
  }
}

function checksumOffload(koffi: Koffi, library: Library): Pick<Libc, 'txChecksum' | 'setTxChecksum'> {
  const ioctl = library.func('int ioctl(int, unsigned long, uint8_t *)')
  const withSocket = socketForOneCall(koffi, library)
  /** struct ethtool_value { __u32 cmd; __u32 data; }; returns data. */
  const ethtool = (device: string, command: number, data: number): number => {
    const value = koffi.alloc('uint32_t', 2)
    try {
      koffi.encode(value, 'uint32_t', [command, data], 2)
      const request = Buffer.alloc(IFREQ)
      request.write(device, 0, IFNAMSIZ - 1, 'latin1')
      request.writeBigUInt64LE(koffi.address(value), IFNAMSIZ)
      const act = `Cannot ask for the checksum offload of ${device}`
      withSocket(act, [AF_INET, SOCK_DGRAM, 0], fd => ioctl(fd, SIOCETHTOOL, request))
      const [, answer = 0] = koffi.decode(value, 'uint32_t', 2)
      return answer
    } finally {
      koffi.free(value)
    }
  }
  return {
    txChecksum: device => ethtool(device, ETHTOOL_GTXCSUM, 0) === 1,
    setTxChecksum(device, on) {
      ethtool(device, ETHTOOL_STXCSUM, Number(on))
    },
  }
}

/** A socket for one call, which fails by a negative result: then with `act` and the call's errno. */
function socketForOneCall(koffi: Koffi, library: Library) {
  const socket = library.func('int socket(int, int, int)')
  const close = library.func('int close(int)')
  return (
    act: string,
    [domain, type, protocol]: readonly [number, number, number],
    call: (fd: number) => number,
  ): number => {
    const fd = socket(domain, type | SOCK_CLOEXEC, protocol)
    if (fd < 0) throw new LibcError(act, koffi.errno())
    const result = call(fd)
    const errno = koffi.errno()
    close(fd)
    if (result < 0) throw new LibcError(act, errno)
    return result
  }
}
