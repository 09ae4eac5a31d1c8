import { mkdir } from 'node:fs/promises'
import { type Ip, urlHost } from '../../lease/net/ip.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import { readToken, writeTlsFiles, writeToken } from './credentials.ts'
import type { EmbeddedEtcdOptions } from './embedded_etcd.ts'

/** The data folder with token and certificates, and the addresses on which etcd listens, our own first. */
export async function preparePlace(
  { endpoints, embedded, prefix, joinSecret }: EtcdOptions,
  address: Ip,
  signal: AbortSignal,
): Promise<EmbeddedEtcdOptions> {
  const { dataDir, isPlain } = embedded ?? { dataDir: '', isPlain: true }
  const given = new URL(endpoints[0] ?? '')
  // A member listens on the port of the first host, unless a flag names another.
  const own = joinSecret === undefined ? given : new URL(`https://127.0.0.1:${given.port}`)
  const reached = `${own.protocol}//${urlHost(address)}`
  const forOthers = `${reached}:${own.port}`
  const clientUrls = [...new Set([own.origin, forOthers])]
  const peerPort = Number(own.port) + 1
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  // Without TLS there are no other members, so the peer port is not reachable from outside.
  const plain = {
    dataDir,
    clientUrls,
    peerUrl: `http://127.0.0.1:${peerPort}`,
    name: 'twill',
    tls: undefined,
  }
  if (isPlain) return plain
  const known = await readToken(dataDir, signal)
  const secret = joinSecret ?? known.secret
  const tls = await writeTlsFiles(dataDir, secret, clientUrls)
  const others = joinSecret === undefined ? known.endpoints : endpoints
  await writeToken(dataDir, { endpoints: [...new Set([forOthers, ...others])], prefix, secret })
  const name = joinSecret === undefined ? 'twill' : `twill-${address.replaceAll(/[.:]/g, '-')}`
  return { dataDir, clientUrls, peerUrl: `${reached}:${peerPort}`, name, tls }
}
