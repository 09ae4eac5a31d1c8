import { readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { Counter, Gauge, Registry } from 'prom-client'
import type { Utilisation } from '../../map/address_space.ts'
import { utilisations } from '../../map/subnet_map.ts'
import type { Histogram } from '../histogram.ts'
import type { AgentStatus } from '../status.ts'
import type { Answer } from './health.ts'

type Labels = Readonly<Record<string, string>>
/** Values with their labels; empty for unknown. */
type Samples = readonly (readonly [Labels, number])[]

/** Facts read for one scrape. */
interface Scrape extends AgentStatus {
  readonly devices: readonly DeviceFacts[]
}

interface DeviceFacts {
  readonly device: string
  readonly isUp: boolean
  /** Undefined if the device does not exist. */
  readonly counters: readonly number[] | undefined
}

interface Metric {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  /** A number has no labels; undefined: unknown. */
  readonly read: (scrape: Scrape) => Samples | number | undefined
}

/** Columns of proc_net_dev(5): receive, then the same for transmit. */
const counters = {
  bytes: 'Bytes',
  packets: 'Packets',
  errors: 'Packets with errors',
  dropped: 'Packets dropped',
}
const FIRST_SENT = 8

/** All metrics. Dashboards rely on their names: never rename one. */
const table: readonly Metric[] = [
  gauge('twill_build_info', 'Always 1; the version is its label.', ({ version }) => [[{ version }, 1]]),
  gauge('twill_ready', 'Whether pods on this node reach their peers, as /readyz says.', s =>
    Number(s.notReady.length === 0),
  ),
  gauge('twill_lease_info', "Always 1 for each subnet of this node's lease.", leaseInfo),
  gauge('twill_peers', 'Peers that the kernel is programmed for.', s => s.peers),
  gauge('twill_peers_refused', 'Peers whose lease is not used; `twill map` says why.', s => s.refused.size),
  gauge('twill_entries_desired', 'Kernel entries that should stand, by kind.', ({ view }) =>
    countByKind(Array.from(view?.desired.values() ?? [], ({ kind }) => kind)),
  ),
  gauge('twill_entries_failing', 'Kernel entries that the kernel refuses, by kind.', ({ failing }) =>
    countByKind(failing.map(({ key }) => key.slice(0, key.indexOf(' ')))),
  ),
  gauge('twill_findings', 'What `twill doctor` finds on this host, by check and severity.', s =>
    s.findings.map(({ check, severity }) => [{ check, severity }, 1]),
  ),
  gauge(
    'twill_entries_contested',
    'Kernel entries that another program keeps undoing.',
    s => s.contested.length,
  ),
  counter('twill_drift_repaired_total', 'Entries that another program had changed, by kind.', s =>
    Object.entries(s.rounds.driftRepaired).map(([kind, count]) => [{ kind }, count]),
  ),
  counter('twill_operations_total', 'Operations on the kernel, by result.', s =>
    Object.entries(s.rounds.operations).map(([result, count]) => [{ result }, count]),
  ),
  counter(
    'twill_full_passes_total',
    'Comparisons of the whole kernel with what is desired.',
    s => s.rounds.fullPasses,
  ),
  gauge('twill_full_pass_duration_seconds', 'How long the last full pass took.', s =>
    seconds(s.rounds.fullPassDurationMs),
  ),
  gauge('twill_since_full_pass_seconds', 'Age of the last full pass.', s =>
    seconds(s.rounds.sinceFullPassMs),
  ),
  gauge(
    'twill_round_running_seconds',
    'How long the current round has run; 0 between two rounds.',
    s => s.roundMs / 1000,
  ),
  gauge('twill_subnets', "Subnets that each family's network has room for.", s =>
    utilised(s).map(({ network, total }) => [{ network }, Number(total)]),
  ),
  gauge('twill_subnets_leased', 'Subnets that are leased or reserved.', s =>
    utilised(s).map(({ network, used }) => [{ network }, used]),
  ),
  gauge(
    'twill_leases_unreadable',
    'Values in the store that cannot be read as a lease.',
    s => s.view?.leases.problems.length,
  ),
  gauge('twill_device_up', 'Whether a tunnel device is there and up.', s =>
    s.devices.map(({ device, isUp }) => [{ device }, Number(isUp)]),
  ),
  ...Object.entries(counters).flatMap(([what, label], column) => [
    counter(`twill_device_receive_${what}_total`, `${label} that a tunnel device received.`, s =>
      deviceCounter(s, column),
    ),
    counter(`twill_device_transmit_${what}_total`, `${label} that a tunnel device sent.`, s =>
      deviceCounter(s, FIRST_SENT + column),
    ),
  ]),
  gauge(
    'twill_lease_expiry_timestamp_seconds',
    "When this node's lease ends if it is not renewed, as Unix time; none where it does not end.",
    s => seconds(s.store.leaseEndsAtMs),
  ),
  counter(
    'twill_store_failures_total',
    'Failures of the store after which the agent tried again, by activity.',
    s => Array.from(s.store.failures ?? [], ([activity, count]) => [{ activity }, count]),
  ),
  counter(
    'twill_store_watch_restarts_total',
    'Watches of the store that broke, ended or fell behind, and were opened again.',
    s => s.store.watchRestarts,
  ),
  counter(
    'twill_store_reconnects_total',
    'Connections to the store made after the first one.',
    s => s.store.reconnects,
  ),
  gauge('twill_store_up', 'Whether the store answers.', s => Number(s.store.trouble === undefined)),
  gauge('twill_since_store_contact_seconds', "Age of the store's last answer.", s =>
    seconds(s.store.lastContactMs === undefined ? undefined : Date.now() - s.store.lastContactMs),
  ),
  gauge('process_resident_memory_bytes', 'Resident memory of the agent.', () => process.memoryUsage.rss()),
  counter('process_cpu_seconds_total', 'CPU time of the agent.', () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  }),
]

/** All metrics in Prometheus' text format. Built at each scrape, so that old labels leave nothing behind. */
export async function metrics(status: AgentStatus): Promise<Answer> {
  const registry = new Registry()
  const scrape = { ...status, devices: await readDevices(status.view?.backend.devices ?? []) }
  for (const { name, type, help, read } of table) {
    const value = read(scrape) ?? []
    const samples: Samples = typeof value === 'number' ? [[{}, value]] : value
    const [first] = samples
    // Without a sample the library would print 0 for an unknown value.
    if (first === undefined) continue
    const options = { name, help, labelNames: Object.keys(first[0]), registers: [registry] }
    const metric = type === 'counter' ? new Counter(options) : new Gauge(options)
    for (const [labels, value] of samples) metric.inc(labels, value)
  }
  const { fullPassDurations, joins } = status.rounds
  const joinHelp = "Time from the store's event about a peer to the peer's route in the kernel."
  const histograms = [
    histogram('twill_pass_duration_seconds', 'How long full passes took.', fullPassDurations),
    histogram('twill_join_latency_seconds', joinHelp, joins.histogram),
  ]
  const text = `${await registry.metrics()}\n${histograms.join('\n')}`
  return { code: 200, text, type: registry.contentType }
}

/** Not the library's histogram: it would take memory from the start, on nodes without a scraper too. */
function histogram(name: string, help: string, samples: Histogram): string {
  const buckets = samples.cumulative().map(([le, count]) => `${name}_bucket{le="${le}"} ${count}`)
  const sums = [`${name}_sum ${samples.sumSeconds}`, `${name}_count ${samples.count}`]
  return [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`, ...buckets, ...sums, ''].join('\n')
}

/** From /proc/self/net: /sys may show another network namespace. */
async function readDevices(names: readonly string[]): Promise<readonly DeviceFacts[]> {
  if (names.length === 0) return []
  const rows = (await readFile('/proc/self/net/dev', 'utf8')).split('\n').map(line => line.split(':', 2))
  const found = new Map(rows.map(([name = '', columns = '']) => [name.trim(), columns]))
  const up = networkInterfaces()
  return names.map(device => ({
    device,
    isUp: up[device] !== undefined,
    counters: found.get(device)?.trim().split(/\s+/).map(Number),
  }))
}

function deviceCounter({ devices }: Scrape, column: number): Samples {
  return devices.flatMap(({ device, counters }) => {
    const value = counters?.[column]
    return value === undefined ? [] : [[{ device }, value] as const]
  })
}

function utilised({ view }: AgentStatus): readonly Utilisation[] {
  return view === undefined ? [] : utilisations(view.network, view.leases.table)
}

function countByKind(kinds: readonly string[]): Samples {
  const counts = new Map<string, number>()
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return Array.from(counts, ([kind, count]) => [{ kind }, count])
}

function gauge(name: string, help: string, read: Metric['read']): Metric {
  return { name, type: 'gauge', help, read }
}

function counter(name: string, help: string, read: Metric['read']): Metric {
  return { name, type: 'counter', help, read }
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000
}

function leaseInfo({ lease }: AgentStatus): Samples {
  return (lease?.subnets ?? []).map(({ prefix, publicIp }) => [{ subnet: prefix, public_ip: publicIp }, 1])
}
