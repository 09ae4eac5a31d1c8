import { endProcess, endWhereOutputFails } from '../../agent/runtime/end_process.ts'
import { whyNoBed } from '../support/bed.ts'
import { helpFor } from '../support/help.ts'
import { keptBeds, removeBed, removeLeftovers } from '../support/leftovers.ts'
import { type Join, join, type Leave, leave, showJoin, showLeave } from './membership.ts'
import { type DemoOptions, parseOptions, UsageError, usage } from './options.ts'
import { lostPings, type Ping, pingAll, showPings } from './pings.ts'
import { Screen } from './screen.ts'
import { Stage } from './stage.ts'
import { measureThroughput, showThroughput, type Throughput, wantedRatio } from './throughput.ts'

/** All that the demo saw: what --json prints. */
interface Report {
  readonly options: DemoOptions
  readonly map: unknown
  readonly pings: readonly Ping[]
  readonly throughput: Throughput
  readonly leave: Leave
  readonly join: Join
  /** What did not work, each in words that name the pair or the node; empty where all did. */
  readonly failures: readonly string[]
  readonly seconds: number
}

/** Exit code. */
async function main(): Promise<number> {
  const help = helpFor(process.argv.slice(2), usage)
  if (help !== undefined) return print(help)
  const options = parseOptions(process.argv.slice(2), process.env.TWILL_SHELTER === 'inside')
  const why = whyNoBed()
  if (why !== undefined) throw new UsageError(why)
  if (options.down) return takeDown(options.name)
  const screen = new Screen({ silent: options.json })
  const stage = await Stage.create(options)
  try {
    const report = await play(stage, screen)
    if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
    showVerdict(screen, report)
    if (options.keep) showKept(screen, stage)
    else
      screen.line(
        'Next: npm run demo -- --keep leaves it standing to look around; README, "Install it", for hosts of your own.',
      )
    return report.failures.length === 0 ? 0 : 1
  } finally {
    if (options.keep) stage.bed.keep()
    else await stage.bed.dispose()
  }
}

async function play(stage: Stage, screen: Screen): Promise<Report> {
  const start = performance.now()
  const { options } = stage
  await build(stage, screen)
  const map: unknown = JSON.parse(await stage.twillMap('--json'))
  screen.heading('Subnet map', 'twill map')
  screen.block(await stage.twillMap())
  await showRoutes(stage, screen)

  const pings = await pingAll(stage.nodes)
  showPings(screen, stage.nodes, pings)
  const throughput = await measureThroughput(stage)
  showThroughput(screen, throughput)

  const leaving = stage.nodes[options.nodes - 1]
  if (leaving === undefined) throw new Error('No node can leave')
  const left = await leave(stage, leaving)
  showLeave(screen, left, options.nodes - 1)
  const joined = await join(stage)
  showJoin(screen, joined, options.nodes - 1)
  const seen = { map, pings, throughput, leave: left, join: joined }
  return { options, ...seen, failures: failuresIn(seen), seconds: (performance.now() - start) / 1000 }
}

async function build(stage: Stage, screen: Screen): Promise<void> {
  const { nodes, backend, families, twoSegments } = stage.options
  const where = twoSegments ? 'two segments and a router' : 'one segment'
  screen.heading(`twill: ${nodes} nodes, ${backend}, ${families.join(' and ')}, ${where}`)
  screen.line()
  await screen.step(
    'underlay',
    () => stage.buildUnderlay(),
    () => stage.segments.flatMap(({ prefixes }) => prefixes).join(', '),
  )
  await screen.step(
    'etcd',
    () => stage.startEtcd(),
    () => `${stage.endpoint} ${JSON.stringify(stage.networkConfig())}`,
  )
  await screen.step(
    'hosts, agents, pods',
    () => stage.addNodes(nodes),
    added => `${added.length} twilld processes ready, a pod each`,
  )
}

/** How the first node reaches the pods of the others: which through the tunnel, which straight. */
async function showRoutes({ nodes, options }: Stage, screen: Screen): Promise<void> {
  const [first, ...others] = nodes
  if (first === undefined || nodes.length > 10) return
  const routes = (await Promise.all(options.families.map(family => first.host.routes(family)))).flat()
  const subnets = others.flatMap(node => node.subnets)
  screen.heading(`Routes on ${first.name}`, 'ip route')
  screen.block(routes.filter(route => subnets.some(subnet => route.startsWith(subnet))).join('\n'))
}

function failuresIn({
  pings,
  throughput,
  leave,
  join,
}: Pick<Report, 'pings' | 'throughput' | 'leave' | 'join'>): string[] {
  const failures = [...lostPings(pings), ...lostPings(join.pings)]
  const { ratio, verdict, from, to } = throughput
  if (verdict === 'missed')
    failures.push(
      `throughput from ${from} to ${to} is ${ratio.toFixed(2)} of the path made by hand; ${wantedRatio} is wanted`,
    )
  const { node, afterAgentEnded } = leave
  if (afterAgentEnded.answered < afterAgentEnded.sent)
    failures.push(
      `pod on ${node}: ${afterAgentEnded.answered} of ${afterAgentEnded.sent} pings answered after its agent had ended`,
    )
  return failures
}

function showVerdict(screen: Screen, { failures, pings, seconds: took }: Report): void {
  screen.line()
  for (const failure of failures.slice(0, 20)) screen.line(`${screen.styled('red', 'failed')}  ${failure}`)
  if (failures.length > 20) screen.line(`... and ${failures.length - 20} more: --json prints all`)
  const verdict =
    failures.length === 0
      ? screen.styled('green', 'All works')
      : screen.styled('red', `${failures.length} failed`)
  screen.line(
    `${verdict}: ${pings.length} pod pairs, throughput, a leave and a join, in ${took.toFixed(1)} s.`,
  )
}

function showKept(screen: Screen, stage: Stage): void {
  const [node] = stage.nodes
  if (node === undefined) return
  screen.heading('It is left standing')
  screen.block(
    [
      `ip netns exec ${node.host.netns} bash      # onto a node`,
      `ip netns exec ${node.pod.netns} bash # into its pod`,
      `ip netns exec ${node.host.netns} node dist/twill.js map --etcd-endpoints=${stage.endpoint}`,
      `less ${node.agent.process.logFile}`,
      `npm run demo -- --down ${stage.bed.id}   # takes it all down`,
    ].join('\n'),
  )
}

function print(text: string): number {
  process.stdout.write(text)
  return 0
}

/** What killed demos left, and the kept one; of several kept ones the named one alone: others may be in use. Throws UsageError. */
function takeDown(name: string | undefined): number {
  const removed = removeLeftovers()
  const kept = keptBeds()
  if (name === undefined && kept.length > 1)
    throw new UsageError(
      `${kept.length} demos are up: --down takes the name of one, or all: ${kept.join(', ')}`,
    )
  const wanted = name === undefined || name === 'all' ? kept : kept.filter(id => id === name)
  if (name !== undefined && name !== 'all' && ![...wanted, ...removed].includes(name))
    throw new UsageError(`There is no demo '${name}'; up: ${kept.join(', ') || 'none'}`)
  for (const id of wanted) removeBed(id)
  const down = [...wanted, ...removed]
  process.stdout.write(down.length === 0 ? 'Nothing is up.\n' : `Taken down: ${down.join(', ')}\n`)
  return 0
}

endWhereOutputFails('demo')
main().then(
  code => endProcess('demo', code),
  error => {
    const usage = error instanceof UsageError
    process.stderr.write(`demo: ${usage ? error.message : (error.stack ?? error)}\n`)
    process.exit(usage ? 2 : 1)
  },
)
