import { mkdir } from 'node:fs/promises'
import { type Family, type Ip, urlHost } from '../../lease/net/ip.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import type { LeaseStore } from '../../lease/store.ts'
import type { AgentConfig } from '../config/config.ts'
import type { UnderlaySource } from '../kernel/kernel.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import { chooseUnderlay, UnderlayError, type UnderlayView } from '../underlay/underlay.ts'
import { whenChosen } from '../underlay/when_chosen.ts'
import { readToken, writeTlsFiles, writeToken } from './credentials.ts'
import type { EmbeddedEtcdOptions, Reports } from './embedded_etcd.ts'

export interface HostOptions extends Reports {
  readonly config: AgentConfig
  readonly etcd: EtcdOptions & { readonly embedded: NonNullable<EtcdOptions['embedded']> }
  readonly kernel: UnderlaySource
  /** Runs the agent with this etcd. It calls `prepare` once the store is open. */
  readonly run: (etcd: EtcdOptions, prepare: Prepare, signal: AbortSignal) => Promise<void>
}

export type Prepare = (store: Pick<LeaseStore, 'offerNetworkConfig'>, signal: AbortSignal) => Promise<void>

/** The data folder with token and certificates, and the addresses on which etcd listens, our own first. */
export async function preparePlace(host: HostOptions, signal: AbortSignal): Promise<EmbeddedEtcdOptions> {
  const { endpoints, embedded, prefix, joinSecret } = host.etcd
  const { dataDir, isPlain } = embedded
  const address = await reachableAddress(host, signal)
  const given = new URL(endpoints[0] ?? '')
  // A member listens on the port of the first host, unless a flag names another.
  const own = joinSecret === undefined ? given : new URL(`https://127.0.0.1:${given.port}`)
  const reached = `${own.protocol}//${urlHost(address)}`
  const forOthers = `${reached}:${own.port}`
  const clientUrls = [...new Set([own.origin, forOthers])]
  const peerPort = Number(own.port) + 1
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  // Without TLS there are no other members, so the peer port is not reachable from outside.
  const ownPeerUrl = `http://127.0.0.1:${peerPort}`
  if (isPlain) return { dataDir, clientUrls, peerUrl: ownPeerUrl, name: 'twill', tls: undefined }
  const known = await readToken(dataDir, signal)
  const secret = joinSecret ?? known.secret
  const tls = await writeTlsFiles(dataDir, secret, clientUrls)
  const others = joinSecret === undefined ? known.endpoints : endpoints
  await writeToken(dataDir, { endpoints: [...new Set([forOthers, ...others])], prefix, secret })
  const name = joinSecret === undefined ? 'twill' : `twill-${address.replaceAll(/[.:]/g, '-')}`
  return { dataDir, clientUrls, peerUrl: `${reached}:${peerPort}`, name, tls }
}

/** Chosen before a network config says which family is used. Waits until an interface can be chosen. */
async function reachableAddress({ config, kernel, log }: HostOptions, signal: AbortSignal): Promise<Ip> {
  const wish = { ...config.interfaces, publicIps: config.publicIps }
  const scope = { devices: [], routeProtocol: TWILL_PROTOCOL }
  const choose = (view: UnderlayView) => {
    const one = (family: Family) => chooseUnderlay([family], view, wish)
    try {
      return one('ipv4')
    } catch (error) {
      if (!(error instanceof UnderlayError)) throw error
      try {
        return one('ipv6')
      } catch (second) {
        throw second instanceof UnderlayError ? error : second
      }
    }
  }
  const choice = await whenChosen({ kernel, scope, wish, log, onTrouble: () => {} }, choose, signal)
  const [local] = choice.localIps
  if (local === undefined) throw new UnderlayError('Cannot find an address for the embedded etcd')
  return local
}
