import { getSystemErrorMap, getSystemErrorName } from 'node:util'
import { ExpectedError } from '../../lease/common/errors.ts'

/** A request that the kernel refused. The message includes the kernel's own text. */
export class NetlinkError extends ExpectedError {
  override name = 'NetlinkError'
  /** Positive, as in errno(3): 17. */
  readonly errno: number
  readonly code: string
  /** NLMSGERR_ATTR_MSG: the kernel's text; undefined where it sent only the number. */
  readonly extack: string | undefined

  /** `act` names what was asked for: `Cannot add route 10.1.5.0/24 ...`. */
  constructor(act: string, errno: number, extack?: string) {
    const [code, text] = describeErrno(errno)
    super(`${act}: ${extack === undefined || extack === '' ? text : extack} (${code})`)
    this.errno = errno
    this.code = code
    this.extack = extack
  }

  during(act: string): NetlinkError {
    return new NetlinkError(act, this.errno, this.extack)
  }
}

/** The kernel did not answer in time. The next request opens the socket again. */
export class NetlinkTimeoutError extends ExpectedError {
  override name = 'NetlinkTimeoutError'
}

/** Read once: a device that the kernel refuses has thousands of entries, each with an error. */
const systemErrors = getSystemErrorMap()

/** The name and the text of a positive error number: `ENOBUFS`, `no buffer space available`. */
export function describeErrno(errno: number): readonly [string, string] {
  return systemErrors.get(-errno) ?? [safeName(errno), `error ${errno}`]
}

/** getSystemErrorName() throws for a number that is no error number. */
function safeName(errno: number): string {
  return errno > 0 && errno < 4096 ? getSystemErrorName(-errno) : `errno ${errno}`
}
