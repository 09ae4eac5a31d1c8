import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
import { type EtcdServer, startEtcd } from '../support/etcd.ts'
import type { StoreJob } from './jobs/store.ts'
import { network, storedLeases } from './peers.ts'
import type { Row } from './row.ts'
import { median } from './statistics.ts'
import { Worker } from './worker.ts'

const LEASES = 5_000
const RUNS = 7
const HELP_RUNS = 25

/** In ms from its start: the first byte on stdout, and the end. */
interface Took {
  readonly firstMs: number
  readonly wholeMs: number
}

/** n: what an operator waits for on the command line, against Node.js and etcdctl alone in the same run. */
export async function* cli(): AsyncGenerator<Row> {
  yield await help()
  const etcd = await startEtcd({ flags: ['--max-txn-ops=1024'] })
  try {
    await fill(etcd)
    const map = [
      'dist/twill.js',
      'map',
      '--local-socket=',
      `--etcd-endpoints=${etcd.endpoint}`,
      '--timeout=30',
    ]
    const bare: number[] = []
    const listing: number[] = []
    const maps: Took[] = []
    for (let i = 0; i < RUNS; i++) {
      bare.push((await time(process.execPath, ['-e', '0'])).wholeMs)
      listing.push((await list(etcd)).wholeMs)
      maps.push(await time(process.execPath, map))
    }
    const reference = median(bare) + median(listing)
    const both = { unit: 'ms', reference, note: 'node -e 0, and etcdctl get' }
    const name = 'n  twill map, 5,000 leases'
    yield {
      name: `${name}: first output`,
      value: median(maps.map(one => one.firstMs)),
      target: 1_000,
      ...both,
    }
    yield { name: `${name}: all`, value: median(maps.map(one => one.wholeMs)), ...both }
  } finally {
    await etcd.remove()
  }
  yield await silentStore()
}

/** CPU time, as a start of some ms is lost in what else a machine does. */
async function help(): Promise<Row> {
  const [bare, ours]: [number[], number[]] = [[], []]
  for (let i = 0; i < HELP_RUNS; i++) {
    bare.push(await cpuMs(['-e', '0']))
    ours.push(await cpuMs(['dist/twill.js', '--help']))
  }
  const [reference, value] = [median(bare), median(ours)]
  const name = 'n  twill --help, CPU'
  return { name, value, unit: 'ms', reference, ratio: value / reference, target: 1.5, note: 'node -e 0' }
}

/** User and system time of Node.js with these words, by bash's `time`. */
async function cpuMs(words: readonly string[]): Promise<number> {
  const line = 'TIMEFORMAT="%U %S"; time "$0" "$@" >/dev/null'
  const { stderr } = await promisify(execFile)('bash', ['-c', line, process.execPath, ...words])
  return stderr.split(' ').reduce((sum, seconds) => sum + Number(seconds) * 1_000, 0)
}

async function fill(etcd: EtcdServer): Promise<void> {
  await using store = new Worker<StoreJob>('store')
  await etcd.ctl('put', '/coreos.com/network/config', JSON.stringify(network))
  await store.call('open', etcd.endpoint, '/coreos.com/network/subnets/')
  await store.call('put', storedLeases(0, LEASES))
}

function list({ endpoint }: EtcdServer): Promise<Took> {
  return time('etcdctl', [`--endpoints=${endpoint}`, 'get', '--prefix', '/coreos.com/network/subnets/'], {
    ETCDCTL_API: '3',
  })
}

/** A store that takes connections and says nothing, and no last-seen file. */
async function silentStore(): Promise<Row> {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const address = silent.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const endpoint = `--etcd-endpoints=http://127.0.0.1:${port}`
  const words = ['dist/twill.js', 'map', '--local-socket=', '--cache-file=/none', endpoint]
  const { wholeMs } = await time(process.execPath, words)
  silent.close()
  return { name: 'n  twill map, silent store: given up', value: wholeMs, unit: 'ms', target: 5_000 }
}

async function time(program: string, words: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Took> {
  const startedMs = performance.now()
  const child = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { PATH: process.env.PATH, ...env },
  })
  let firstMs = Number.NaN
  child.stdout.once('data', () => {
    firstMs = performance.now() - startedMs
  })
  child.stdout.resume()
  await once(child, 'close')
  return { firstMs, wholeMs: performance.now() - startedMs }
}
