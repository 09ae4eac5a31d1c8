import type { Log } from '../lease/log.ts'
import type { Ip } from '../lease/net/ip.ts'
import { offerNetworkConfig } from '../lease/registry.ts'
import type { AgentConfig } from './config.ts'
import { withEmbeddedEtcd } from './embedded_etcd.ts'
import type { NetlinkKernel } from './kernel/netlink_kernel.ts'
import { TWILL_PROTOCOL } from './state/ownership.ts'
import { chooseUnderlay, UnderlayError } from './underlay.ts'

/** What flannel's own manifests have. */
const DEFAULT_NETWORK = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

/**
 * For a first host with no etcd at hand: runs one, gives it a network config where it has none, and says how the next host
 * joins. `run` is the agent; etcd ends after it.
 */
export async function runAsFirstHost(
  config: AgentConfig,
  dataDir: string,
  kernel: NetlinkKernel,
  log: Log,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { store } = config
  if (store.kind !== 'etcd') return await run(signal)
  const own = new URL(store.endpoints[0] ?? '')
  const address = await reachableAddress(config, kernel, signal)
  const forOthers = `http://${address.includes(':') ? `[${address}]` : address}:${own.port}`
  const clientUrls = [...new Set([own.origin, forOthers])]
  await withEmbeddedEtcd({ dataDir, clientUrls }, log, signal, async all => {
    if (await offerNetworkConfig(store, DEFAULT_NETWORK, log, all))
      log.info(
        { config: DEFAULT_NETWORK, key: `${store.prefix}/config` },
        'etcd had no network config: stored a default one',
      )
    const prefix = store.prefix === '/coreos.com/network' ? '' : ` --etcd-prefix=${store.prefix}`
    log.info(
      { run: `twilld --etcd-endpoints=${forOthers}${prefix}` },
      'the next host joins with this command',
    )
    log.warn(
      { url: forOthers },
      'the embedded etcd asks for no password: who reaches it can redirect pod traffic',
    )
    await run(all)
  })
}

/** Where other hosts reach this one, before there is a network config that says in which family. */
async function reachableAddress(
  config: AgentConfig,
  kernel: NetlinkKernel,
  signal: AbortSignal,
): Promise<Ip> {
  const facts = {
    interfaces: await kernel.listInterfaces(signal),
    routes: await kernel.listRoutes({ devices: [], routeProtocol: TWILL_PROTOCOL }, signal),
  }
  const wish = { ...config.interfaces, publicIps: config.publicIps }
  for (const family of ['ipv4', 'ipv6'] as const) {
    try {
      const [local] = chooseUnderlay([family], facts, wish).localIps
      if (local !== undefined) return local
    } catch (error) {
      if (!(error instanceof UnderlayError) || family === 'ipv6') throw error
    }
  }
  throw new UnderlayError('Cannot find an address for the embedded etcd')
}
