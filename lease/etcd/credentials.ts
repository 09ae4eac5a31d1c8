import { readFile } from 'node:fs/promises'
import type { EtcdOptions } from '../options.ts'

/** PEM. Without a CA the system's are meant; certificate and key come as a pair or not at all. */
export interface Credentials {
  readonly rootCertificate?: Buffer
  readonly certChain?: Buffer
  readonly privateKey?: Buffer
}

/** A CA alone is honoured. Undefined where nothing is to be read. Throws where a file cannot be. */
export async function readCredentials(
  endpoint: string,
  { caFile, certFile, keyFile }: EtcdOptions,
): Promise<Credentials | undefined> {
  if (!endpoint.startsWith('https:')) return undefined
  const read = async (file: string | undefined) => (file === undefined ? undefined : readFile(file))
  const [rootCertificate, certChain, privateKey] = await Promise.all([
    read(caFile),
    read(certFile),
    read(keyFile),
  ])
  if (!rootCertificate && !(certChain && privateKey)) return undefined
  return {
    ...(rootCertificate && { rootCertificate }),
    ...(certChain && privateKey && { certChain, privateKey }),
  }
}
