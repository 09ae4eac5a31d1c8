import { fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { type EtcdServer, startEtcd } from '../support/etcd.ts'
import type { Memory } from './churn_child.ts'
import { CHURN_PREFIX } from './churn_child.ts'
import { foreignValue } from './foreign.ts'
import { Gateway } from './gateway.ts'
import type { ChaosOptions } from './options.ts'
import { Random } from './random.ts'

const KEYS = 500
/** Growth of the heap that a fit to a noisy line may show without there being any. */
const HEAP_MB_AN_HOUR = 2

interface Sample extends Memory {
  readonly atMs: number
}

/** One store in a process of its own follows a network that changes all the time. Exit code. */
export async function measureChurn(options: ChaosOptions): Promise<number> {
  const server = await startEtcd({
    flags: ['--auto-compaction-mode=revision', '--auto-compaction-retention=1000'],
  })
  const child = fork(process.argv[1] ?? '', ['--churn-child', server.endpoint], { execArgv: ['--expose-gc'] })
  try {
    say(
      `churn: ${options.rate} changes a second among ${KEYS} leases for ${options.minutes} min, one store, seed ${options.seed}`,
    )
    say()
    const samples: Sample[] = []
    child.on('message', (memory: Memory) => {
      samples.push({ ...memory, atMs: performance.now() })
      if (samples.length % Math.max(1, Math.round(options.minutes)) === 0) showSample(samples)
    })
    const made = await churn(server, options)
    return showVerdict(samples, made)
  } finally {
    child.kill()
    await server.remove()
  }
}

/** How many changes were made. */
async function churn(server: EtcdServer, { rate, minutes, seed }: ChaosOptions): Promise<number> {
  const gateway = new Gateway(() => server.endpoints)
  const random = new Random(seed)
  const startedAt = performance.now()
  await gateway.put(`${CHURN_PREFIX}/config`, '{"Network":"10.64.0.0/10","Backend":{"Type":"vxlan"}}')
  let made = 0
  const change = async () => {
    const number = random.whole(0, KEYS - 1)
    const key = `${CHURN_PREFIX}/subnets/10.${100 + (number >> 8)}.${number & 255}.0-24`
    if (random.chance(0.3)) await gateway.remove(key)
    else await gateway.put(key, foreignValue(`203.0.${random.whole(0, 255)}.${number & 255}`, false))
    made++
  }
  while (performance.now() - startedAt < minutes * 60_000) {
    const due = ((performance.now() - startedAt) / 1000) * rate - made
    await Promise.all(Array.from({ length: Math.min(50, Math.max(0, Math.floor(due))) }, change))
    await sleep(20)
  }
  return made
}

function showVerdict(samples: readonly Sample[], made: number): number {
  const settled = samples.slice(Math.floor(samples.length / 4))
  const last = samples.at(-1)
  if (last === undefined || settled.length < 5) {
    say('Too short to say anything: at least a minute is needed.')
    return 2
  }
  const heap = slope(settled, sample => sample.heap)
  const rss = slope(settled, sample => sample.rss)
  const flat = heap <= HEAP_MB_AN_HOUR
  const hours = ((settled.at(-1)?.atMs ?? 0) - (settled[0]?.atMs ?? 0)) / 3600_000
  say()
  say(`${made} changes made, ${last.changes} changed keys followed in ${last.tables} tables`)
  say(
    `slope over the last ${(hours * 60).toFixed(1)} min: heap ${heap.toFixed(2)} MB/h, RSS ${rss.toFixed(2)} MB/h`,
  )
  say(flat ? 'Memory is flat.' : `The heap grows: more than ${HEAP_MB_AN_HOUR} MB an hour.`)
  return flat ? 0 : 1
}

/** Least squares, in MB an hour. */
function slope(samples: readonly Sample[], of: (sample: Sample) => number): number {
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length
  const x = samples.map(sample => sample.atMs / 3600_000)
  const y = samples.map(sample => of(sample) / 2 ** 20)
  const [mx, my] = [mean(x), mean(y)]
  const above = x.reduce((sum, xi, i) => sum + (xi - mx) * ((y[i] ?? 0) - my), 0)
  return above / x.reduce((sum, xi) => sum + (xi - mx) ** 2, 0)
}

function showSample(samples: readonly Sample[]): void {
  const [first, last] = [samples[0], samples.at(-1)]
  if (!first || !last) return
  const mb = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MB`
  const minutes = ((last.atMs - first.atMs) / 60_000).toFixed(1).padStart(6)
  say(`${minutes} min  RSS ${mb(last.rss)}  heap ${mb(last.heap)}  ${last.changes} changed keys followed`)
}

function say(line = ''): void {
  process.stdout.write(`${line}\n`)
}
