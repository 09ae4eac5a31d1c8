import { getSystemErrorMap, getSystemErrorName } from 'node:util'

/** What the kernel refused, in its own words. */
export class NetlinkError extends Error {
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

/** No answer within the time that is left for one; the socket is opened anew for the next request. */
export class NetlinkTimeoutError extends Error {
  override name = 'NetlinkTimeoutError'
}

function describe(errno: number): readonly [string, string] {
  const known = getSystemErrorMap().get(-errno)
  return known ?? [safeName(errno), `error ${errno}`]
}

/** getSystemErrorName() throws for what is no error number at all. */
function safeName(errno: number): string {
  return errno > 0 && errno < 4096 ? getSystemErrorName(-errno) : `errno ${errno}`
}
