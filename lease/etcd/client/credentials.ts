import { readFile } from 'node:fs/promises'
import type { EtcdOptions } from '../../options.ts'
import { issueCertificate } from './certificates.ts'

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
  const read = async (file: string | undefined) => (file === undefined ? undefined : readFile(file))
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
