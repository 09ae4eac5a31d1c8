import { Counter, Gauge, Registry } from 'prom-client'
import type { Answer } from './health.ts'
import type { AgentStatus } from './status.ts'

type Labels = Readonly<Record<string, string>>
/** Values with their labels; none where nothing is known. */
type Samples = readonly (readonly [Labels, number])[]

interface Metric {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly read: (status: AgentStatus) => Samples
}

/** Everything that /metrics says. A name is a promise to dashboards: it stays. */
const table: readonly Metric[] = [
  gauge('twill_build_info', 'Always 1; the version is its label.', ({ version }) => [[{ version }, 1]]),
  gauge('twill_ready', 'Whether pods on this node reach their peers, as /readyz says.', s =>
    one(Number(s.notReady.length === 0)),
  ),
  gauge('twill_lease_info', "Always 1 for each subnet of this node's lease.", leaseInfo),
  gauge('twill_peers', 'Peers that the kernel is programmed for.', s => one(s.peers)),
  gauge('twill_peers_refused', 'Peers whose lease is not used; `twill map` says why.', s =>
    one(s.refused.size),
  ),
  gauge('twill_entries_failing', 'Kernel entries that the kernel refuses, by kind.', failingByKind),
  gauge('twill_findings', 'What `twill doctor` finds on this host, by check and severity.', s =>
    s.findings.map(({ check, severity }) => [{ check, severity }, 1]),
  ),
  gauge('twill_entries_contested', 'Kernel entries that somebody else keeps undoing.', s =>
    one(s.contested.length),
  ),
  counter('twill_drift_repaired_total', 'Entries that somebody else had changed, by kind.', s =>
    Array.from(s.rounds.driftRepaired, ([kind, count]) => [{ kind }, count]),
  ),
  counter('twill_operations_total', 'Operations on the kernel, by result.', s =>
    Object.entries(s.rounds.operations).map(([result, count]) => [{ result }, count]),
  ),
  counter('twill_full_passes_total', 'Comparisons of the whole kernel with what is desired.', s =>
    one(s.rounds.fullPasses),
  ),
  gauge('twill_full_pass_duration_seconds', 'How long the last full pass took.', s =>
    seconds(s.rounds.fullPassDurationMs),
  ),
  gauge('twill_since_full_pass_seconds', 'Age of the last full pass.', s =>
    seconds(s.rounds.sinceFullPassMs),
  ),
  gauge('twill_store_up', 'Whether the store answers.', s => one(Number(s.store.trouble === undefined))),
  gauge('twill_since_store_contact_seconds', "Age of the store's last answer.", s =>
    seconds(s.store.lastContactMs === undefined ? undefined : Date.now() - s.store.lastContactMs),
  ),
  gauge('process_resident_memory_bytes', 'Resident memory of the agent.', () =>
    one(process.memoryUsage.rss()),
  ),
  counter('process_cpu_seconds_total', 'CPU time of the agent.', () => {
    const { user, system } = process.cpuUsage()
    return one((user + system) / 1e6)
  }),
]

/** All metrics in Prometheus' text format. Made anew at each scrape: a label that is gone leaves nothing behind. */
export async function metrics(status: AgentStatus): Promise<Answer> {
  const registry = new Registry()
  for (const { name, type, help, read } of table) {
    const samples = read(status)
    const [first] = samples
    // Without a sample the library would say 0, and nothing is known.
    if (first === undefined) continue
    const options = { name, help, labelNames: Object.keys(first[0]), registers: [registry] }
    const metric = type === 'counter' ? new Counter(options) : new Gauge(options)
    for (const [labels, value] of samples) metric.inc(labels, value)
  }
  return { code: 200, text: await registry.metrics(), type: registry.contentType }
}

function gauge(name: string, help: string, read: Metric['read']): Metric {
  return { name, type: 'gauge', help, read }
}

function counter(name: string, help: string, read: Metric['read']): Metric {
  return { name, type: 'counter', help, read }
}

function one(value: number): Samples {
  return [[{}, value]]
}

function seconds(ms: number | undefined): Samples {
  return ms === undefined ? [] : one(ms / 1000)
}

function leaseInfo({ lease }: AgentStatus): Samples {
  return (lease?.subnets ?? []).map(({ prefix, publicIp }) => [{ subnet: prefix, public_ip: publicIp }, 1])
}

function failingByKind({ failing }: AgentStatus): Samples {
  const counts = new Map<string, number>()
  for (const { key } of failing) {
    const kind = key.slice(0, key.indexOf(' '))
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return Array.from(counts, ([kind, count]) => [{ kind }, count])
}
