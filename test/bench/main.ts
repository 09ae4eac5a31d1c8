import { execFileSync, spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { whyNoBed } from '../support/bed.ts'
import { helpFor } from '../support/help.ts'
import { drift } from './drift.ts'
import { etcdCost } from './etcd_cost.ts'
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
import { start } from './start.ts'
import { takeover } from './takeover.ts'
import { wholesale } from './wholesale.ts'
import { type Job, serve } from './worker.ts'

const usage = `npm run bench -- [options] [groups]

  groups        letters, as in 'a c'; all unless given
  --node LIST   run it on each of these releases of Node.js, fetched from npm: --node 20,22,24,26
  --json FILE   where to write what was measured; .bench/<date>.json unless given, and always with --node

  a  programming peers                f  drift and its repair
  b  an agent's start                 g  restart, kill, takeover under traffic
  c  joins and leaves                 h  what agents cost etcd
  d  memory, idle CPU                 i  Kubernetes
  e  a full pass with nothing to do
`

/** By letter. Each yields its rows as it has them. */
const groups: Readonly<Record<string, () => AsyncIterable<Row>>> = {
  a: programming,
  b: start,
  c: membership,
  d: memory,
  e: pass,
  f: both(drift, wholesale, repairs),
  g: takeover,
  h: etcdCost,
  i: kubernetes,
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
    options: { json: { type: 'string' }, node: { type: 'string' } },
  })
  const chosen = positionals.length === 0 ? Object.keys(groups) : positionals
  const unknown = chosen.filter(letter => groups[letter] === undefined)
  if (unknown.length > 0) {
    process.stderr.write(`No group '${unknown.join(' ')}'\n\n${usage}`)
    return 2
  }
  const why = whyNoBed()
  if (why !== undefined) throw new Error(why)
  if (values.node !== undefined) return onReleases(values.node.split(','), chosen)
  return await measure(chosen, values.json)
}

async function measure(chosen: readonly string[], json: string | undefined): Promise<number> {
  const report = beginReport()
  const rows: Row[] = []
  process.stdout.write(
    `Node.js ${report.node}, Linux ${report.kernel}, ${report.cpus} CPUs\n${printHead()}\n`,
  )
  try {
    for (const letter of chosen) {
      for await (const row of groups[letter]?.() ?? []) {
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

function both(...parts: readonly (() => AsyncIterable<Row>)[]): () => AsyncIterable<Row> {
  return async function* () {
    for (const part of parts) yield* part()
  }
}

async function* kubernetes(): AsyncGenerator<Row> {
  const { kubernetesBench } = await import('./kubernetes.ts')
  yield* await kubernetesBench()
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
