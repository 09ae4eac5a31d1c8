import { familyOf, type Ip } from '../../lease/net/ip.ts'
import { type HandMade, wireByHand } from '../support/hand_made.ts'
import type { Namespace } from '../support/namespace.ts'
import { median, type Screen } from './screen.ts'
import type { Stage } from './stage.ts'

export interface Throughput {
  readonly family: string
  readonly from: string
  readonly to: string
  /** Gbit/s of each round; the three paths take turns within a round. */
  readonly rounds: readonly { readonly underlay: number; readonly handMade: number; readonly twill: number }[]
  readonly underlay: number
  readonly handMade: number
  readonly twill: number
  /** twill's best by that of the hand-made path. */
  readonly ratio: number
  /** By how much the middle round of the hand-made path falls short of its best: what the machine's other work takes. */
  readonly noise: number
  /** `unclear`: too little, but no further off than the rounds of one path differ among themselves. */
  readonly verdict: 'met' | 'missed' | 'unclear'
  /** What `ethtool -k` says of the underlay interface; without segmentation offload all figures halve. */
  readonly offloads: Readonly<Record<string, string>>
}

/** Of what the same path carries with entries made by hand. */
export const wantedRatio = 0.95

interface Path {
  readonly name: 'underlay' | 'handMade' | 'twill'
  readonly from: Namespace
  readonly to: Namespace
  readonly address: Ip
}

/** One TCP stream between the first two nodes' pods, the same between pods wired by hand, and between the bare hosts. */
export async function measureThroughput(stage: Stage): Promise<Throughput> {
  const [first, second] = stage.nodes
  if (first === undefined || second === undefined) throw new Error('Two nodes are needed')
  const paths = await buildPaths(stage)
  const rounds: Throughput['rounds'][number][] = []
  // Whatever else the machine does lowers a figure and never lifts it: the best round counts, and where it looks bad there
  // are more of them.
  while (rounds.length < 3 || (rounds.length < 9 && ratio(rounds) < wantedRatio)) {
    const figures = { underlay: 0, handMade: 0, twill: 0 }
    const turn = paths.map((_, i) => paths[(i + rounds.length) % paths.length] as Path)
    for (const path of turn) figures[path.name] = await measure(path)
    rounds.push(figures)
  }
  return {
    family: familyOf(first.pod.addresses[0] ?? ''),
    from: first.name,
    to: second.name,
    rounds,
    underlay: of(rounds, 'underlay'),
    handMade: of(rounds, 'handMade'),
    twill: of(rounds, 'twill'),
    ratio: ratio(rounds),
    noise: noise(rounds),
    verdict: verdict(rounds),
    offloads: await offloads(first.host),
  }
}

export function showThroughput(screen: Screen, result: Throughput): void {
  const { rounds, underlay, handMade, twill } = result
  screen.heading('TCP, one stream', `Gbit/s, best of ${rounds.length} rounds in which the three take turns`)
  screen.fact('bare underlay', underlay.toFixed(2).padStart(6))
  screen.fact(
    'overlay made by hand',
    handMade.toFixed(2).padStart(6),
    'the same devices, entries and accepts, by ip and iptables',
  )
  screen.fact(
    'twill, pod to pod',
    twill.toFixed(2).padStart(6),
    `${result.ratio.toFixed(2)} of by hand, ${(twill / underlay).toFixed(2)} of the underlay`,
  )
  if (result.verdict === 'unclear')
    screen.block(
      `${wantedRatio} is wanted; rounds of one path differ by ${Math.round(100 * result.noise)} %: the machine is too busy to tell`,
    )
}

async function buildPaths(stage: Stage): Promise<Path[]> {
  const [first, second] = stage.nodes
  if (first === undefined || second === undefined) throw new Error('Two nodes are needed')
  const { backend, families } = stage.options
  const hosts = [await stage.newHost('hand1', 0), await stage.newHost('hand2', 1)]
  const wired = await wireByHand(hosts, { backend, families })
  await Promise.all(wired.map(acceptForwarded))
  const [from, to] = await Promise.all(hosts.map(host => host.pod()))
  if (from === undefined || to === undefined) throw new Error('Two pods are needed')
  const paths = [
    { name: 'underlay', from: first.host, to: second.host },
    { name: 'handMade', from, to },
    { name: 'twill', from: first.pod, to: second.pod },
  ] as const
  for (const path of paths) await path.to.spawn(['iperf3', '-s', '--forceflush']).says(/Server listening/)
  return paths.map(path => ({ ...path, address: path.to.addresses[0] as Ip }))
}

/** As twilld does, unless told otherwise: each packet that is forwarded then passes the firewall, which costs a little. */
async function acceptForwarded({ host, subnets }: HandMade): Promise<void> {
  for (const subnet of subnets) {
    const v6 = familyOf(subnet) === 'ipv6'
    const [program, network] = v6 ? ['ip6tables', 'fd99::/48'] : ['iptables', '10.99.0.0/16']
    for (const side of ['-s', '-d'])
      await host.exec([program, '-A', 'FORWARD', side, network, '-j', 'ACCEPT'])
  }
}

/** Gbit/s that arrived. */
async function measure({ from, address }: Path): Promise<number> {
  const text = await from.exec(['iperf3', '-c', address, '-t', '1', '-J'])
  const { end } = JSON.parse(text) as { end: { sum_received: { bits_per_second: number } } }
  return end.sum_received.bits_per_second / 1e9
}

function of(rounds: Throughput['rounds'], path: Path['name']): number {
  return Math.max(...rounds.map(round => round[path]))
}

function ratio(rounds: Throughput['rounds']): number {
  return of(rounds, 'twill') / of(rounds, 'handMade')
}

function noise(rounds: Throughput['rounds']): number {
  return 1 - (median(rounds.map(round => round.handMade)) ?? 0) / of(rounds, 'handMade')
}

function verdict(rounds: Throughput['rounds']): Throughput['verdict'] {
  if (ratio(rounds) >= wantedRatio) return 'met'
  return ratio(rounds) >= wantedRatio - noise(rounds) ? 'unclear' : 'missed'
}

async function offloads(host: Namespace): Promise<Record<string, string>> {
  const text = await host.exec(['ethtool', '-k', 'eth0'])
  const wanted =
    /^\s*(tx-checksumming|tcp-segmentation-offload|generic-(?:segmentation|receive)-offload|tx-udp_tnl-segmentation): (\w+)/gm
  return Object.fromEntries(Array.from(text.matchAll(wanted), ([, name = '', state = '']) => [name, state]))
}
