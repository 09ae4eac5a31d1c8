import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../lease/common/errors.ts'
import { readRegularFile } from '../../lease/common/read_file.ts'
import { readWhole, replaceFile } from '../../lease/common/replace_file.ts'
import { isScarcity } from '../../lease/common/scarcity.ts'
import { issueCertificate } from '../../lease/etcd/client/certificates.ts'
import {
  type JoinToken,
  JoinTokenError,
  parseJoinToken,
  printJoinToken,
  SECRET_BYTES,
} from '../../lease/join_token.ts'
import { hostOf } from '../../lease/net/ip.ts'

/** The secret of the join token, and the PEM files made from it at each start, for root alone. */
export interface TlsFiles {
  readonly joinSecret: Uint8Array
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
}

/** One line, for root alone. No other file has the token's secret. */
export function tokenFile(dataDir: string): string {
  return join(dataDir, 'join-token')
}

/** Without a token file, a new secret and no endpoint. Throws JoinTokenError. */
export async function readToken(
  dataDir: string,
  signal: AbortSignal,
): Promise<Pick<JoinToken, 'secret' | 'endpoints'>> {
  const file = tokenFile(dataDir)
  const text = await readWhole(file, signal)
  if (text === undefined) return { secret: randomBytes(SECRET_BYTES), endpoints: [] }
  try {
    return parseJoinToken(text.trim())
  } catch (cause) {
    throw new JoinTokenError(
      `Cannot use ${file}: ${messageOf(cause)}. Put a token of this network into it, which its other hosts have; ` +
        'or remove it: the network gets a new token, and every other host has to join with that',
      { cause },
    )
  }
}

/** Writes the token, unless the file already holds it. */
export async function writeToken(dataDir: string, token: JoinToken): Promise<void> {
  const [file, text] = [tokenFile(dataDir), `${printJoinToken(token)}\n`]
  const found = await readRegularFile(file, text.length).catch(() => undefined)
  if (found !== text) await replaceFile(file, text, 0o600)
}

/** Writes certificates for every address of this host and every host name in `urls`. */
export async function writeTlsFiles(
  dataDir: string,
  secret: Uint8Array,
  urls: readonly string[],
): Promise<TlsFiles> {
  const own = Object.values(networkInterfaces()).flatMap(all => all?.map(({ address }) => address) ?? [])
  const named = urls.map(url => hostOf(url))
  const names = [...new Set([...own, ...named])]
  const { rootCertificate, certChain, privateKey } = issueCertificate(secret, names)
  const [caFile, hostFile] = [join(dataDir, 'tls', 'ca.pem'), join(dataDir, 'tls', 'host.pem')]
  try {
    await replaceFile(caFile, rootCertificate.toString(), 0o600)
    await replaceFile(hostFile, `${certChain}${privateKey}`, 0o600)
  } catch (error) {
    // On a full disk, use the files of the last start.
    if (!isScarcity(error) || !existsSync(hostFile)) throw error
  }
  return { joinSecret: secret, caFile, certFile: hostFile, keyFile: hostFile }
}
