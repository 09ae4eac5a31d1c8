import { availableParallelism } from 'node:os'
import type { Family } from '../../lease/net/ip.ts'
import { mapBounded } from '../support/exec.ts'
import { count, median, type Screen } from './screen.ts'
import { addressesOf, type Node } from './stage.ts'

export interface Ping {
  readonly from: string
  readonly to: string
  readonly family: Family
  /** Median round trip; null where nothing came back. */
  readonly rttMs: number | null
  readonly sent: number
  readonly answered: number
  /** What ping said where it could not even send. */
  readonly error?: string
}

/** Pings every pod from every other, in every family, some at a time. */
export async function pingAll(
  nodes: readonly Node[],
  only: (from: Node, to: Node) => boolean = () => true,
): Promise<Ping[]> {
  const pairs = nodes.flatMap(from =>
    nodes.filter(to => to !== from && only(from, to)).map(to => ({ from, to })),
  )
  const probes = pairs.flatMap(({ from, to }) => addressesOf(to.pod).map(target => ({ from, to, ...target })))
  const sent = nodes.length > 10 ? 3 : 5
  return mapBounded(probes, 4 * availableParallelism(), async ({ from, to, family, address }) => {
    const pair = { from: from.name, to: to.name, family, sent }
    try {
      const times = await from.pod.ping(address, { count: sent })
      return { ...pair, answered: times.length, rttMs: median(times) ?? null }
    } catch (error) {
      return { ...pair, answered: 0, rttMs: null, error: String(error) }
    }
  })
}

/** The pairs that did not get an answer to each of their pings, in words. */
export function lostPings(pings: readonly Ping[]): string[] {
  return pings
    .filter(({ sent, answered }) => answered < sent)
    .map(
      ({ from, to, family, sent, answered }) =>
        `pod on ${from} to pod on ${to} over ${family}: ${answered} of ${sent} pings answered`,
    )
}

export function showPings(screen: Screen, nodes: readonly Node[], pings: readonly Ping[]): void {
  const families = Array.from(new Set(pings.map(({ family }) => family)))
  for (const family of families) {
    const some = pings.filter(ping => ping.family === family)
    screen.heading(`Ping, pod to pod, ${family}`, 'round trip in ms, median')
    screen.block(nodes.length <= 10 ? matrix(nodes, some) : dots(nodes, some))
    screen.line()
    screen.block(summary(some))
  }
}

function matrix(nodes: readonly Node[], pings: readonly Ping[]): string {
  const width = Math.max(...nodes.map(({ name }) => name.length)) + 1
  const row = (name: string, cells: readonly string[]) =>
    `${name.padEnd(width + 4)}${cells.map(cell => cell.padStart(width + 1)).join('')}`
  const rows = nodes.map(from =>
    row(
      `from ${from.name}`,
      nodes.map(to => cell(from, to, pings)),
    ),
  )
  return [
    row(
      '  to',
      nodes.map(({ name }) => name),
    ),
    ...rows,
  ].join('\n')
}

function cell(from: Node, to: Node, pings: readonly Ping[]): string {
  if (from === to) return '-'
  const rtt = pings.find(ping => ping.from === from.name && ping.to === to.name)?.rttMs
  return rtt === null || rtt === undefined ? 'none' : rtt.toFixed(3)
}

/** A character a pair: for more nodes than have room for figures. */
function dots(nodes: readonly Node[], pings: readonly Ping[]): string {
  const answered = new Map(pings.map(ping => [`${ping.from} ${ping.to}`, ping.answered === ping.sent]))
  const mark = (from: Node, to: Node) =>
    from === to ? '\\' : answered.get(`${from.name} ${to.name}`) ? '.' : 'X'
  return nodes.map(from => `${from.name.padEnd(8)}${nodes.map(to => mark(from, to)).join('')}`).join('\n')
}

function summary(pings: readonly Ping[]): string {
  const times = pings.flatMap(({ rttMs }) => (rttMs === null ? [] : [rttMs])).sort((a, b) => a - b)
  const good = pings.filter(({ sent, answered }) => sent === answered).length
  const figures = `${times[0]?.toFixed(3)} to ${times.at(-1)?.toFixed(3)} ms, median ${median(times)?.toFixed(3)}`
  return `${good} of ${count(pings.length, 'pair')} answered${times.length === 0 ? '' : `: ${figures}`}`
}
