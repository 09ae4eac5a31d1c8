import type { Log } from '../../lease/common/log.ts'
import { shellQuote } from '../../lease/common/shell_quote.ts'
import { runTogether } from '../../lease/common/tasks.ts'
import { DEFAULT_PREFIX, type EtcdOptions } from '../../lease/options.ts'
import { tokenFile } from './credentials.ts'
import { type EmbeddedEtcdOptions, withEmbeddedEtcd } from './embedded_etcd.ts'
import { maintainEtcd } from './maintain_etcd.ts'
import { type HostOptions, type Prepare, preparePlace } from './place.ts'

/** The network config of flannel's own manifests. */
const DEFAULT_NETWORK = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

/** Starts an etcd, stores a network config where it has none, and logs how the next host joins. */
export async function runAsFirstHost(host: HostOptions, signal: AbortSignal): Promise<void> {
  const { etcd, log, run } = host
  const place = await preparePlace(host, signal)
  await withEmbeddedEtcd(place, host, signal, async all => {
    logHowToJoin(etcd, place, log)
    const own = { ...etcd, ...place.tls, endpoints: place.clientUrls.slice(0, 1) }
    const prepare: Prepare = (store, one) => offerDefault(store, `${etcd.prefix}/config`, log, one)
    const tasks = [
      (one: AbortSignal) => run(own, prepare, one),
      (one: AbortSignal) => maintainEtcd(own, place, host, one),
    ]
    await runTogether(all, tasks)
  })
}

function logHowToJoin({ prefix }: EtcdOptions, { dataDir, clientUrls, tls }: EmbeddedEtcdOptions, log: Log) {
  // The path with which this agent was started: it is usually the same on the next host.
  const program = shellQuote(process.argv[1] ?? 'twilld')
  if (tls !== undefined) {
    const file = tokenFile(dataDir)
    const fields = { run: `${program} --join=TOKEN`, tokenFile: file, listensOn: clientUrls }
    const where = `TOKEN is the line in ${file}, which root alone can read`
    return log.info(fields, `the next host joins with this command; ${where}`)
  }
  const more = prefix === DEFAULT_PREFIX ? '' : ` --etcd-prefix=${prefix}`
  const run = `${program} --etcd-endpoints=${clientUrls.at(-1)}${more}`
  log.info({ run }, 'the next host joins with this command')
  log.warn(
    { listensOn: clientUrls },
    '--embedded-etcd-plain: the embedded etcd asks for no certificate: every host and pod that reaches one of these addresses ' +
      'can redirect pod traffic; leave the flag out, or let a firewall keep pods and other networks off them',
  )
}

async function offerDefault(store: Parameters<Prepare>[0], key: string, log: Log, signal: AbortSignal) {
  const stored = await store.offerNetworkConfig?.(DEFAULT_NETWORK, signal)
  if (stored === undefined) return
  const which = stored === DEFAULT_NETWORK ? 'a default one' : 'the one that this host had last'
  log.info({ key, config: stored }, `etcd had no network config: stored ${which}`)
}
