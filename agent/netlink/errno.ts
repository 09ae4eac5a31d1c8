import { getSystemErrorMap, getSystemErrorName } from 'node:util'
import { ExpectedError } from '../../lease/common/errors.ts'

/** What the kernel refused, in its own words. */
export class NetlinkError extends ExpectedError {
  override name = 'NetlinkError'
  /** Positive, as in errno(3): 17. */
  readonly errno: number
  /** `EEXIST` */
  readonly code: string
  /** NLMSGERR_ATTR_MSG, what the kernel says beyond the number; undefined where it says nothing. */
  readonly extack: string | undefined

  /** `act` names what was asked for: `Cannot add route 10.1.5.0/24 ...`. */
  constructor(act: string, errno: number, extack?: string) {
    const [code, text] = describe(errno)
    super(`${act}: ${extack === undefined || extack === '' ? text : extack} (${code})`)
    this.errno = errno
    this.code = code
    this.extack = extack
  }

  /** The same refusal under another act. */
  during(act: string): NetlinkError {
    return new NetlinkError(act, this.errno, this.extack)
  }
}

/** No answer within the time that is left for one; the socket is opened again for the next request. */
export class NetlinkTimeoutError extends ExpectedError {
  override name = 'NetlinkTimeoutError'
}

/** Created once: the stack trace would cost time for each of a refused device's thousands of entries. */
const systemErrors = getSystemErrorMap()

function describe(errno: number): readonly [string, string] {
  return systemErrors.get(-errno) ?? [safeName(errno), `error ${errno}`]
}

/** getSystemErrorName() throws for what is no error number at all. */
function safeName(errno: number): string {
  return errno > 0 && errno < 4096 ? getSystemErrorName(-errno) : `errno ${errno}`
}
