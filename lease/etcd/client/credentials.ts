import { FileError, readRegularFile } from '../../common/read_file.ts'
import type { EtcdOptions } from '../../options.ts'
import { issueCertificate } from './certificates.ts'

/** Larger than any list of authorities. */
const MOST_BYTES = 4 * 2 ** 20

/** PEM. Without a CA the system's CAs are trusted. Certificate and key are both given or both missing. */
export interface Credentials {
  readonly rootCertificate?: Buffer
  readonly certChain?: Buffer
  readonly privateKey?: Buffer
}

/** The TLS files, or a certificate by the join token; empty without TLS. Rejects on an unreadable file. */
export async function readCredentials(
  endpoint: string,
  { caFile, certFile, keyFile, joinSecret }: EtcdOptions,
): Promise<Credentials> {
  if (!endpoint.startsWith('https:')) return {}
  if (joinSecret !== undefined) return issueCertificate(joinSecret)
  const [rootCertificate, certChain, privateKey] = await Promise.all([
    read(caFile),
    read(certFile),
    read(keyFile),
  ])
  return {
    ...(rootCertificate && { rootCertificate }),
    ...(certChain && privateKey && { certChain, privateKey }),
  }
}

async function read(file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined) return undefined
  try {
    return Buffer.from(await readRegularFile(file, MOST_BYTES))
  } catch (cause) {
    if (!(cause instanceof FileError)) throw cause
    throw new FileError(`cannot read ${file}: ${cause.message}`, { cause })
  }
}
