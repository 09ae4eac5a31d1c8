import { X509Certificate } from 'node:crypto'
import type { RequestOptions } from 'node:https'
import { at } from '../../json/path.ts'

/**
 * Which credentials a request carried, without their content: `sent: a bearer token that expired at
 * 2026-01-02T03:04:05Z, no client certificate`. For a 401, whose own text is only `Unauthorized`.
 */
export function printSent({ headers, auth, cert }: RequestOptions): string {
  const authorization = at(headers, 'Authorization')
  const words: string[] = []
  if (typeof authorization === 'string') words.push(`a bearer token${expiry(tokenEnd(authorization))}`)
  else if (auth) words.push('a user name with a password')
  else words.push('no token')
  words.push(cert ? `a client certificate${expiry(certificateEnd(cert))}` : 'no client certificate')
  return `sent: ${words.join(', ')}`
}

function expiry(end: Date | undefined): string {
  if (end === undefined || Number.isNaN(end.getTime())) return ''
  return ` that ${end.getTime() < Date.now() ? 'expired' : 'expires'} at ${end.toISOString().replace('.000Z', 'Z')}`
}

/** `exp` of a JWT, in seconds (RFC 7519, 4.1.4). */
function tokenEnd(authorization: string): Date | undefined {
  try {
    const payload = Buffer.from(authorization.split('.')[1] ?? '', 'base64url').toString('utf8')
    const end = at(JSON.parse(payload), 'exp')
    return typeof end === 'number' ? new Date(end * 1000) : undefined
  } catch {
    return undefined
  }
}

function certificateEnd(cert: RequestOptions['cert']): Date | undefined {
  try {
    return new Date(new X509Certificate(String(cert)).validTo)
  } catch {
    return undefined
  }
}
