import { createHash } from 'node:crypto'
import { ExpectedError } from './common/errors.ts'
import { DEFAULT_PREFIX } from './options.ts'

/** All that a host needs to reach the etcd of a network whose agents run it themselves. */
export interface JoinToken {
  /** `https://host:port`, at least one. */
  readonly endpoints: readonly string[]
  readonly prefix: string
  /** The network's certificates are made from it: see lease/etcd/client/certificates.ts. */
  readonly secret: Uint8Array
}

/** The text is no join token. The message never contains the text, nor a part of it. */
export class JoinTokenError extends ExpectedError {
  override name = 'JoinTokenError'
}

export const SECRET_BYTES = 16
/** Every token begins with this text, so that scanners for leaked secrets can find it. */
const MARK = 'twill1_'
const CHECKSUM_BYTES = 4
const MOST_CHARACTERS = 2048

/** One word of letters, digits, `-` and `_`, which every shell leaves alone. */
export function printJoinToken({ endpoints, prefix, secret }: JoinToken): string {
  const places = endpoints.map(url => new URL(url).host).join(',')
  const path = prefix === DEFAULT_PREFIX ? '' : ` ${prefix}`
  const content = Buffer.concat([secret, Buffer.from(places + path)])
  return MARK + Buffer.concat([checksum(content), content]).toString('base64url')
}

export function parseJoinToken(text: string): JoinToken {
  if (!text.startsWith(MARK)) throw new JoinTokenError(`a join token begins with ${MARK}`)
  const body = text.slice(MARK.length)
  if (body.length > MOST_CHARACTERS || !/^[\w-]+$/.test(body))
    throw new JoinTokenError('a join token is one word of letters, digits, - and _')
  const bytes = Buffer.from(body, 'base64url')
  const content = bytes.subarray(CHECKSUM_BYTES)
  if (!bytes.subarray(0, CHECKSUM_BYTES).equals(checksum(content)))
    throw new JoinTokenError('the join token was not copied whole: its checksum is wrong')
  const [, places = '', path] = /^(\S+)(?: (.*))?$/.exec(content.subarray(SECRET_BYTES).toString()) ?? []
  const endpoints = places.split(',').map(place => `https://${place}`)
  if (!endpoints.every(url => URL.canParse(url)))
    throw new JoinTokenError('the join token names no address of etcd')
  return { endpoints, prefix: path ?? DEFAULT_PREFIX, secret: content.subarray(0, SECRET_BYTES) }
}

function checksum(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest().subarray(0, CHECKSUM_BYTES)
}
