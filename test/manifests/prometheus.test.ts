import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { healthPort } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { prometheusTool, whyNoPrometheus } from '../support/prometheus.ts'
import { until } from '../support/until.ts'

const why = whyNoPrometheus ?? whyNoBed()
if (why !== undefined) console.warn(why)

const promtool = (words: readonly string[], input?: string) =>
  execFileSync(prometheusTool('promtool') ?? 'promtool', words, { encoding: 'utf8', input })

interface Dashboard {
  readonly panels: readonly {
    readonly title: string
    readonly targets: readonly { readonly expr: string }[]
  }[]
}

const dashboard: Dashboard = JSON.parse(readFileSync('manifests/prometheus/dashboard.json', 'utf8'))
const alerts = readFileSync('manifests/prometheus/alerts.yaml', 'utf8')
/** `$instance` and the rest, as Grafana fills them in. */
const queries = dashboard.panels.flatMap(({ title, targets }) =>
  targets.map(({ expr }) => ({
    title,
    expr: expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '1m'),
  })),
)
const SECONDS = 'global: { scrape_interval: 1s }'

describe.skipIf(whyNoPrometheus !== undefined)('the alert rules', () => {
  it('fire for each trouble, and for nothing that is well or short', () => {
    expect(promtool(['test', 'rules', 'test/manifests/alerts.yaml'])).toContain('SUCCESS')
  })
})

describe.skipIf(why !== undefined)('a Prometheus that scrapes three agents', () => {
  let bed: OverlayBed
  let watcher: Host
  beforeAll(async () => {
    bed = await overlayBed('prometheus', ['h1', 'h2', 'h3'])
    await bed.configure()
    await bed.startAgents()
    watcher = await bed.bed.host('watcher', bed.lan)
    await startPrometheus()
  })
  afterAll(() => bed.dispose())

  async function startPrometheus(): Promise<void> {
    const targets = bed.hosts.map(host => `'${host.address()}:${healthPort}'`).join(', ')
    const file = join(watcher.directory, 'prometheus.yml')
    const job = `{ job_name: twill, static_configs: [{ targets: [${targets}] }] }`
    writeFileSync(file, `${SECONDS}\nscrape_configs: [${job}]\n`)
    const data = join(watcher.directory, 'tsdb')
    mkdirSync(data)
    const words = [`--config.file=${file}`, `--storage.tsdb.path=${data}`, '--log.level=warn']
    watcher.spawn([prometheusTool('prometheus') ?? '', ...words], { name: 'prometheus' })
  }

  /** Label sets with a value that is a number. */
  async function query(expr: string): Promise<number> {
    const answer = await watcher.httpGet(9090, `/api/v1/query?query=${encodeURIComponent(expr)}`)
    if (answer === undefined || answer.status !== 200) return -1
    const { result } = JSON.parse(answer.body).data
    return result.length
  }

  const metricsOf = async (host: Host | undefined) =>
    (await host?.httpGet(healthPort, '/metrics'))?.body ?? ''

  it('gets metrics that promtool finds nothing wrong with', async () => {
    const [first] = bed.hosts
    const text = await metricsOf(first)
    expect(promtool(['check', 'metrics'], text)).toBe('')
    expect(text).toContain('twill_device_up{device="flannel.1"} 1')
    expect(text).toContain('twill_subnets_leased{network="10.244.0.0/16"} 3')
    expect(text).toMatch(/^twill_lease_expiry_timestamp_seconds \d+/m)
    expect(text).toMatch(/^twill_join_latency_seconds_count [1-9]/m)
  })

  it("has an answer to each of the dashboard's queries", async () => {
    await until('three nodes', async () => (await query('rate(twill_peers[1m])')) === 3)
    const answers = await Promise.all(
      queries.map(async ({ title, expr }) => ({ title, series: await query(expr) })),
    )
    expect(answers.filter(({ series }) => series < 1)).toEqual([])
  })

  it('knows every metric that the alerts and the dashboard name', async () => {
    const text = await metricsOf(bed.hosts[0])
    const known = new Set(text.match(/^(twill|process)_\w+/gm))
    // Only there while the kernel refuses something.
    known.add('twill_entries_failing').add('twill_store_failures_total')
    const exprs = [...queries.map(({ expr }) => expr), ...(alerts.match(/^ +expr: .*/gm) ?? [])]
    const named = new Set(exprs.flatMap(expr => expr.match(/\btwill_\w+/g) ?? []))
    expect([...named].filter(name => !known.has(name))).toEqual([])
  })
})
