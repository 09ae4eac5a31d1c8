import { execFileSync, spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { whyNoBed } from '../support/bed.ts'
import { helpFor } from '../support/help.ts'
import { cli } from './cli.ts'
import { compare } from './compare.ts'
import { type Contender, parseContender, twilld } from './contender.ts'
import { damage } from './damage.ts'
import { drift } from './drift.ts'
import { etcdCost } from './etcd_cost.ts'
import { flood } from './flood.ts'
import { leaseCostJob } from './jobs/lease_cost.ts'
import { programmingJob } from './jobs/programming.ts'
import { storeJob } from './jobs/store.ts'
import { trafficJob } from './jobs/traffic.ts'
import { membership } from './membership.ts'
import { memory } from './memory.ts'
import { pass } from './pass.ts'
import { programming } from './programming.ts'
import { repairs } from './repairs.ts'
import { beginReport, isMissed, printHead, printRow, writeReport } from './report.ts'
import type { Row } from './row.ts'
import { soak } from './soak.ts'
import { start, startFromOutside } from './start.ts'
import { takeover } from './takeover.ts'
import { wholesale } from './wholesale.ts'
import { type Job, serve } from './worker.ts'

const usage = `npm run bench -- [options] [groups]

  groups        letters, as in 'a c'; all unless given
  --node LIST   run it on each of these releases of Node.js, fetched from npm: --node 20,22,24,26
  --json FILE   where to write what was measured; .bench/<date>.json unless given, and always with --node
  --minutes N   how long the soak (j) lasts; 8 unless given
  --compare NAME=COMMAND
                measures another agent that takes flanneld's flags beside twilld: those of b, c, d, k and m that the kernel
                and /proc show; value is twilld's, reference the other's: --compare flanneld=/usr/local/bin/flanneld

  a  programming peers                f  drift and its repair
  b  an agent's start                 g  restart, kill, takeover under traffic
  c  joins and leaves                 h  what agents cost etcd
  d  memory, idle CPU                 i  Kubernetes
  e  a full pass with nothing to do   j  soak: memory under churn and drift
  k  repairs of a device in a row     l  a flood of hostile leases
  m  a device damaged every 4 s for a minute, under traffic
  n  what an operator waits for on the command line
`

/** Yields its rows as it has them. */
type Run = () => AsyncIterable<Row>

/** By letter, what can be told of any agent. */
const fromOutside: Readonly<Record<string, (contender: Contender) => AsyncIterable<Row>>> = {
  b: startFromOutside,
  c: membership,
  d: memory,
  k: repairs,
  m: damage,
}

/** By letter. `minutes` is how long the soak lasts. */
const groups = (minutes: number): Readonly<Record<string, Run>> => ({
  a: programming,
  b: start,
  c: () => membership(twilld),
  d: () => memory(twilld),
  e: pass,
  f: both(drift, wholesale),
  g: takeover,
  h: etcdCost,
  i: kubernetes,
  j: () => soak(minutes),
  k: () => repairs(twilld),
  l: flood,
  m: () => damage(twilld),
  n: cli,
})

function comparisons(text: string): Readonly<Record<string, Run>> {
  const other = parseContender(text)
  const runs = Object.entries(fromOutside).map(([letter, group]): [string, Run] => [
    letter,
    () => compare(group, other),
  ])
  return Object.fromEntries(runs)
}

const jobs: Readonly<Record<string, () => Job>> = {
  programming: programmingJob,
  store: storeJob,
  traffic: trafficJob,
  lease_cost: leaseCostJob,
}

/** Exit code: 1 where a target was missed. */
async function main(words: readonly string[]): Promise<number> {
  const help = helpFor(words, usage)
  if (help !== undefined) {
    process.stdout.write(help)
    return 0
  }
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      json: { type: 'string' },
      node: { type: 'string' },
      minutes: { type: 'string', default: '8' },
      compare: { type: 'string' },
    },
  })
  const runs = values.compare === undefined ? groups(Number(values.minutes)) : comparisons(values.compare)
  const chosen = positionals.length === 0 ? Object.keys(runs) : positionals
  const unknown = chosen.filter(letter => runs[letter] === undefined)
  if (unknown.length > 0) {
    process.stderr.write(`No group '${unknown.join(' ')}'\n\n${usage}`)
    return 2
  }
  const why = whyNoBed()
  if (why !== undefined) throw new Error(why)
  if (values.node !== undefined) {
    const other = values.compare === undefined ? [] : ['--compare', values.compare]
    return onReleases(values.node.split(','), [...chosen, '--minutes', values.minutes, ...other])
  }
  const some = chosen.flatMap(letter => runs[letter] ?? [])
  return await measure(some, values.json)
}

async function measure(runs: readonly Run[], json: string | undefined): Promise<number> {
  const report = beginReport()
  const rows: Row[] = []
  process.stdout.write(
    `Node.js ${report.node}, Linux ${report.kernel}, ${report.cpus} CPUs\n${printHead()}\n`,
  )
  try {
    for (const run of runs) {
      for await (const row of run()) {
        rows.push(row)
        process.stdout.write(`${printRow(row)}\n`)
      }
    }
  } finally {
    writeReport(json ?? `.bench/${report.date.replaceAll(':', '-')}.json`, { ...report, rows })
  }
  return rows.some(isMissed) ? 1 : 0
}

/** The same groups on one release after the other. 1 where one of them ended so. */
function onReleases(releases: readonly string[], chosen: readonly string[]): number {
  const codes = releases.map(release => {
    const folder =
      release === process.versions.node.split('.')[0] ? dirname(process.execPath) : fetched(release)
    const node = join(folder, 'node')
    return spawnSync(node, [process.argv[1] ?? '', ...chosen], { stdio: 'inherit' }).status ?? 1
  })
  return Math.max(...codes)
}

function fetched(release: string): string {
  return execFileSync('sh', ['test/support/node_release.sh', release], { encoding: 'utf8' }).trim()
}

function both(...parts: readonly Run[]): Run {
  return async function* () {
    for (const part of parts) yield* part()
  }
}

async function* kubernetes(): AsyncGenerator<Row> {
  const { kubernetesBench } = await import('./kubernetes.ts')
  yield* await kubernetesBench()
  const { kubernetesJoins } = await import('./kubernetes_joins.ts')
  yield* kubernetesJoins()
  const { kubernetesAgent } = await import('./kubernetes_agent.ts')
  yield* kubernetesAgent()
}

const [first, name] = process.argv.slice(2)
if (first === '--job') serve(jobs[name ?? '']?.() ?? {})
else
  main(process.argv.slice(2)).then(
    code => process.exit(code),
    error => {
      process.stderr.write(`bench: ${error instanceof Error ? error.stack : error}\n`)
      process.exit(1)
    },
  )
