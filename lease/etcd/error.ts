import { ExpectedError, messageOf } from '../common/errors.ts'

/** `compacted`: the revision asked for is gone. `token`: another is to be asked for. `closed`: the store was. `trouble`: anything else that etcd or the way to it says. */
export type EtcdErrorKind = 'trouble' | 'compacted' | 'token' | 'closed'

/** A call that etcd did not answer, or not with what was asked for. The message names endpoint, cause and, where known, remedy. */
export class EtcdError extends ExpectedError {
  override name = 'EtcdError'
  readonly kind: EtcdErrorKind
  readonly endpoint: string
  constructor(kind: EtcdErrorKind, endpoint: string, reason: string, options?: ErrorOptions) {
    super(`etcd at ${endpoint}: ${reason}`, options)
    this.kind = kind
    this.endpoint = endpoint
  }
}

const remedies: readonly (readonly [RegExp, string])[] = [
  [/database space exceeded/, 'compact and defragment it, then `etcdctl alarm disarm`'],
  [/authentication failed/, 'check user name and password'],
  [/user name is empty/, 'etcd has authentication on: give user name and password'],
  [/permission denied/, 'grant the user read and write under the prefix'],
  [/self[- ]signed|unable to (verify|get)/i, 'give the CA that signed its certificate'],
  [/no leader/i, 'its cluster has no quorum, or this member is cut off from it'],
]

/** gRPC wraps the cause in words of its own; what is left is what an operator can act on. */
export function etcdError(error: unknown, endpoint: string): EtcdError {
  if (error instanceof EtcdError) return error
  const reason = plainReason(messageOf(error))
  const remedy = remedies.find(([pattern]) => pattern.test(reason))?.[1]
  const kind = kindOf(reason)
  return new EtcdError(kind, endpoint, remedy ? `${reason} (${remedy})` : reason, { cause: error })
}

function kindOf(reason: string): EtcdErrorKind {
  if (/required revision has been compacted/.test(reason)) return 'compacted'
  return /invalid auth token/.test(reason) ? 'token' : 'trouble'
}

function plainReason(message: string): string {
  const text = message
    .replace(/^(\w+: )?\d+ [A-Z_]+: /, '')
    .replace(/^No connection established\. Last error: /, '')
    .replace(/\.? ?Resolution note:.*$/s, '')
    .replace(/^(Error: )+/, '')
    .replace(/^etcdserver: /, '')
    .trim()
  return /^Deadline exceeded/i.test(text) || /DEADLINE_EXCEEDED/.test(message) ? 'no answer in time' : text
}
