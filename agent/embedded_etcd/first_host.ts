import type { Log } from '../../lease/common/log.ts'
import { shellQuote } from '../../lease/common/shell_quote.ts'
import type { Family, Ip } from '../../lease/net/ip.ts'
import type { EtcdOptions } from '../../lease/options.ts'
import type { LeaseStore } from '../../lease/store.ts'
import type { AgentConfig } from '../config/config.ts'
import type { UnderlaySource } from '../kernel/kernel.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import {
  chooseUnderlay,
  type UnderlayChoice,
  UnderlayError,
  type UnderlayView,
  type UnderlayWish,
} from '../underlay/underlay.ts'
import { whenChosen } from '../underlay/when_chosen.ts'
import { withEmbeddedEtcd } from './embedded_etcd.ts'

/** What flannel's own manifests have. */
const DEFAULT_NETWORK = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

export interface FirstHostOptions {
  readonly config: AgentConfig
  readonly etcd: EtcdOptions
  readonly dataDir: string
  readonly kernel: UnderlaySource
  readonly log: Log
  /** The agent itself. It calls `prepare` once the store is open. */
  readonly run: (prepare: Prepare, signal: AbortSignal) => Promise<void>
}

export type Prepare = (store: Pick<LeaseStore, 'offerNetworkConfig'>, signal: AbortSignal) => Promise<void>

/**
 * For a first host with no etcd at hand: runs one, gives it a network config where it has none, and says how the next host
 * joins. etcd ends after the agent.
 */
export async function runAsFirstHost(options: FirstHostOptions, signal: AbortSignal): Promise<void> {
  const { config, etcd, dataDir, kernel, log, run } = options
  const own = new URL(etcd.endpoints[0] ?? '')
  const address = await reachableAddress(config, kernel, log, signal)
  const forOthers = `http://${address.includes(':') ? `[${address}]` : address}:${own.port}`
  const clientUrls = [...new Set([own.origin, forOthers])]
  await withEmbeddedEtcd({ dataDir, clientUrls }, log, signal, async all => {
    const prefix = etcd.prefix === '/coreos.com/network' ? '' : ` --etcd-prefix=${etcd.prefix}`
    // By the path that this agent was started by: it is mostly the same on the next host.
    const program = shellQuote(process.argv[1] ?? 'twilld')
    const join = `${program} --etcd-endpoints=${forOthers}${prefix}`
    log.info({ run: join }, 'the next host joins with this command')
    log.warn(
      { listensOn: clientUrls },
      'the embedded etcd asks for no password: every host and pod that reaches one of these addresses can redirect pod traffic; ' +
        'let a firewall keep pods and other networks off them',
    )
    await run((store, one) => offerDefault(store, `${etcd.prefix}/config`, log, one), all)
  })
}

async function offerDefault(
  store: Parameters<Prepare>[0],
  key: string,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  if (await store.offerNetworkConfig?.(DEFAULT_NETWORK, signal))
    log.info({ key, config: DEFAULT_NETWORK }, 'etcd had no network config: stored a default one')
}

/** Where other hosts reach this one, before there is a network config that says in which family; waits for an interface. */
async function reachableAddress(
  config: AgentConfig,
  kernel: UnderlaySource,
  log: Log,
  signal: AbortSignal,
): Promise<Ip> {
  const wish = { ...config.interfaces, publicIps: config.publicIps }
  const scope = { devices: [], routeProtocol: TWILL_PROTOCOL }
  const choose = (view: UnderlayView) => chooseFirst([['ipv4'], ['ipv6']], view, wish)
  const choice = await whenChosen({ kernel, scope, wish, log, onTrouble: () => {} }, choose, signal)
  const [local] = choice.localIps
  if (local === undefined) throw new UnderlayError('Cannot find an address for the embedded etcd')
  return local
}

function chooseFirst(
  families: readonly (readonly Family[])[],
  view: UnderlayView,
  wish: UnderlayWish,
): UnderlayChoice {
  const failures: UnderlayError[] = []
  for (const family of families) {
    try {
      return chooseUnderlay(family, view, wish)
    } catch (error) {
      if (!(error instanceof UnderlayError)) throw error
      failures.push(error)
    }
  }
  throw failures[0] ?? new UnderlayError('Cannot choose an external interface: no family was asked for')
}
