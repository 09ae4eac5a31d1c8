import { getSystemErrorMap, getSystemErrorName } from 'node:util'
import { ExpectedError } from '../../lease/common/errors.ts'

/** A C library function that failed. */
export class LibcError extends ExpectedError {
  override name = 'LibcError'
  readonly code: string
  constructor(act: string, errno: number) {
    const code = getSystemErrorName(-errno)
    super(`${act}: ${getSystemErrorMap().get(-errno)?.[1] ?? code} (${code})`)
    this.code = code
  }
}

/** The few C library functions that Node.js does not offer. Each works on the calling thread and throws LibcError. */
export interface Libc {
  /** setsockopt(2) with an int. */
  setSocketOption(fd: number, level: number, option: number, value: number): void
  /** getsockopt(2); how many bytes of `value` were filled. */
  getSocketOption(fd: number, level: number, option: number, value: Uint8Array): number
  /** mallopt(3): from now on free memory at the end of the heap goes back to the kernel once it is so many bytes. */
  trimHeapAbove(bytes: number): void
  /** malloc_trim(3): free memory of all threads goes back to the kernel, within about 1 ms. */
  releaseFreeMemory(): void
  /** Sends one datagram to a socket of the file system, or to an abstract one, whose name starts with `@` (unix(7)). */
  sendToUnixSocket(name: string, text: string): void
  /**
   * Sends one request to a netlink family (netlink(7)) that answers before the send returns, and fills `answer` with the first
   * datagram of what it says; how many bytes that are.
   */
  askNetlink(protocol: number, request: Uint8Array, answer: Uint8Array): number
}

/** malloc.h: #define M_TRIM_THRESHOLD -1 */
const M_TRIM_THRESHOLD = -1

/** #define AF_UNIX 1, AF_NETLINK 16, SOCK_DGRAM 2, SOCK_RAW 3, SOCK_CLOEXEC 02000000, MSG_DONTWAIT 0x40 */
const AF_UNIX = 1
const AF_NETLINK = 16
const SOCK_DGRAM = 2
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const MSG_DONTWAIT = 0x40

/** Loads koffi, which costs some MB: only who opens a netlink socket pays for it. */
export async function loadLibc(): Promise<Libc> {
  const { default: koffi } = await import('koffi')
  const library = koffi.load('libc.so.6')
  const setsockopt = library.func('int setsockopt(int, int, int, const int32_t *, uint32_t)')
  const getsockopt = library.func('int getsockopt(int, int, int, uint8_t *, _Inout_ uint32_t *)')
  const mallopt = library.func('int mallopt(int, int)')
  const mallocTrim = library.func('int malloc_trim(size_t)')
  const socket = library.func('int socket(int, int, int)')
  const sendto = library.func('int64_t sendto(int, const uint8_t *, size_t, int, const uint8_t *, uint32_t)')
  const recv = library.func('int64_t recv(int, _Out_ uint8_t *, size_t, int)')
  const close = library.func('int close(int)')
  const check = (act: string, result: number) => {
    if (result !== 0) throw new LibcError(act, koffi.errno())
  }
  return {
    setSocketOption(fd, level, option, value) {
      check(
        `Cannot set socket option ${level}/${option} to ${value}`,
        setsockopt(fd, level, option, [value], 4),
      )
    },
    getSocketOption(fd, level, option, value) {
      const length = [value.length]
      check(`Cannot get socket option ${level}/${option}`, getsockopt(fd, level, option, value, length))
      return length[0] ?? 0
    },
    trimHeapAbove(bytes) {
      mallopt(M_TRIM_THRESHOLD, bytes)
    },
    releaseFreeMemory() {
      mallocTrim(0)
    },
    sendToUnixSocket(name, text) {
      const act = `Cannot send to the socket ${name}`
      const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
      if (fd < 0) throw new LibcError(act, koffi.errno())
      const address = Buffer.from(`\0\0${name.startsWith('@') ? `\0${name.slice(1)}` : name}`)
      address.writeUInt16LE(AF_UNIX)
      const datagram = Buffer.from(text)
      const sent = Number(sendto(fd, datagram, datagram.length, 0, address, address.length))
      const errno = koffi.errno()
      close(fd)
      if (sent < 0) throw new LibcError(act, errno)
    },
    askNetlink(protocol, request, answer) {
      const act = `Cannot ask netlink family ${protocol}`
      const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
      if (fd < 0) throw new LibcError(act, koffi.errno())
      // struct sockaddr_nl of zeros but for the family: the kernel itself.
      const address = Buffer.alloc(12)
      address.writeUInt16LE(AF_NETLINK)
      const sent = Number(sendto(fd, request, request.length, 0, address, address.length))
      const length = sent < 0 ? sent : Number(recv(fd, answer, answer.length, MSG_DONTWAIT))
      const errno = koffi.errno()
      close(fd)
      if (length < 0) throw new LibcError(act, errno)
      return length
    },
  }
}
