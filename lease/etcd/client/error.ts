import { ExpectedError, messageOf } from '../../common/errors.ts'

/**
 * `compacted`: the revision is gone. `no lease`: a write's etcd lease is gone. `token`: a new one is needed.
 * `ended`, `closed`: by this client, to connect again or for good.
 */
export type EtcdErrorKind = 'trouble' | 'compacted' | 'no lease' | 'token' | 'ended' | 'closed'

/** A call to etcd failed. The message names endpoint, cause and, where known, the remedy. */
export class EtcdError extends ExpectedError {
  override name = 'EtcdError'
  readonly kind: EtcdErrorKind
  constructor(kind: EtcdErrorKind, endpoint: string, reason: string, options?: ErrorOptions) {
    super(`etcd at ${endpoint}: ${reason}`, options)
    this.kind = kind
  }
}

const translations: readonly (readonly [RegExp, string])[] = [
  [
    /alert (bad certificate|certificate|unknown ca|decrypt error|handshake failure)/i,
    'it asks for a client certificate, or refuses ours',
  ],
  [/wrong version number|before secure TLS connection|packet length too long/i, 'it does not speak TLS'],
  [
    /^Failed to connect$|^Protocol error$/i,
    'it closes the connection at once, as one that speaks TLS alone does',
  ],
  [/^null$/, 'no connection could be made'],
  // grpc-js's message when a proxy answers CONNECT with anything but 200.
  [/^undefined$/, 'the proxy does not connect us to it'],
  [/^Name resolution failed for target (?:dns:)?(\S+)$/, 'the name $1 cannot be resolved'],
]

const remedies: readonly (readonly [RegExp, string])[] = [
  [/database space exceeded/, 'compact and defragment it, then `etcdctl alarm disarm`'],
  [/authentication failed/, 'check user name and password'],
  [/user name is empty/, 'etcd has authentication on: give user name and password'],
  [/permission denied/, 'grant the user read and write under the prefix'],
  [
    /self[- ]signed|unable to (verify|get)/i,
    'give the CA that signed its certificate, or the join token of its network',
  ],
  [
    /client certificate/,
    'give --etcd-certfile and --etcd-keyfile, signed by a CA that it knows and not expired, or --join where an agent runs it',
  ],
  [/does not speak TLS/, 'write http:// for https://'],
  [/speaks TLS alone/, 'write https:// for http://'],
  [/^the proxy/, 'check --etcd-proxy with its user and password, and what the proxy allows'],
  [/cannot be resolved/, 'check DNS, or write its address'],
  [/certificate has expired/, 'renew its certificate, and check the clocks'],
  [/no leader/i, 'its cluster has no quorum, or this member is cut off from it'],
]

/** Makes an EtcdError. gRPC wraps the cause in its own words: keeps the part that an operator can act on. */
export function etcdError(error: unknown, endpoint: string): EtcdError {
  if (error instanceof EtcdError) return error
  const reason = plainReason(messageOf(error))
  const remedy = remedies.find(([pattern]) => pattern.test(reason))?.[1]
  const kind = kindOf(reason)
  return new EtcdError(kind, endpoint, remedy ? `${reason} (${remedy})` : reason, { cause: error })
}

function kindOf(reason: string): EtcdErrorKind {
  if (/required revision has been compacted/.test(reason)) return 'compacted'
  if (/requested lease not found/.test(reason)) return 'no lease'
  return /invalid auth token|user name is empty|revision of auth store is old/.test(reason)
    ? 'token'
    : 'trouble'
}

function plainReason(message: string): string {
  const text = message
    .replace(/^(\w+: )?\d+ [A-Z_]+: /, '')
    .replace(/^No connection established\. Last error: /, '')
    .replace(/\.? ?Resolution note:.*$/s, '')
    .replace(/^(Error: )+/, '')
    .replace(/^etcdserver: /, '')
    // Removes time stamps and thread numbers, which would make each text a new one for the log.
    .replace(/\s*\(?\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)\)?/g, '')
    .replace(/\b[0-9A-F]{8,16}:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+).*$/is, '$1')
    .trim()
  for (const [pattern, words] of translations) {
    const match = pattern.exec(text)
    if (match) return words.replace('$1', match[1] ?? '')
  }
  return /^Deadline exceeded/i.test(text) || /DEADLINE_EXCEEDED/.test(message) ? 'no answer in time' : text
}

/** Tests for failures to retry without a log line: connections that we ended, and one expired token. */
export function silentTrouble(): (failure: unknown) => boolean {
  let tokens = 1
  return failure =>
    failure instanceof EtcdError && (failure.kind === 'ended' || (failure.kind === 'token' && tokens-- > 0))
}
