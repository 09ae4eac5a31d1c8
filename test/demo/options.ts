import { parseArgs } from 'node:util'
import type { Family } from '../../lease/net/ip.ts'

export interface DemoOptions {
  readonly nodes: number
  /** IPv4 first. */
  readonly families: readonly Family[]
  readonly backend: 'vxlan' | 'host-gw'
  /** Hosts behind a router, every second one in the second segment. */
  readonly twoSegments: boolean
  readonly keep: boolean
  readonly json: boolean
  readonly down: boolean
  /** The demo that --down takes down: its name, or `all`; undefined: the one that is up. */
  readonly name: string | undefined
}

/** A command line that cannot be carried out. */
export class UsageError extends Error {
  override name = 'UsageError'
}

export const usage = `npm run demo -- [options]

  --nodes N         2 to 50 nodes; 3 unless given
  --ipv6            IPv6 only
  --dual            IPv4 and IPv6
  --backend NAME    vxlan, or host-gw: plain routes, no tunnel
  --two-segments    nodes behind a router; vxlan with DirectRouting, so that both kinds of path show
  --keep            leave it all up in the end, and print how to look around
  --down [NAME]     take down what --keep left: the demo of that name where several are up, or all
  --json            print JSON alone
`

/** Throws UsageError. `sheltered`: in namespaces that end with us. */
export function parseOptions(words: readonly string[], sheltered: boolean): DemoOptions {
  const { values, positionals } = parse(words)
  const nodes = Number(values.nodes ?? 3)
  if (!Number.isInteger(nodes) || nodes < 2 || nodes > 50)
    throw new UsageError(`--nodes is '${values.nodes}': it must be a number from 2 to 50`)
  const backend = values.backend ?? 'vxlan'
  if (backend !== 'vxlan' && backend !== 'host-gw')
    throw new UsageError(`--backend is '${backend}': it must be vxlan or host-gw`)
  const twoSegments = values['two-segments'] ?? false
  if (backend === 'host-gw' && twoSegments)
    throw new UsageError(
      'host-gw cannot cross a router: each node is the gateway to its subnet, and a gateway must be on the same ' +
        'segment. Leave out --two-segments, or use --backend vxlan',
    )
  const keep = values.keep ?? false
  if (keep && sheltered) throw new UsageError('--keep needs root: without, all namespaces end with the demo')
  const { down = false, json = false } = values
  const [name, ...more] = positionals
  if (more.length > 0 || (name !== undefined && !down))
    throw new UsageError(`'${positionals.join(' ')}' is no option\n\n${usage}`)
  return { nodes, families: families(values), backend, twoSegments, keep, json, down, name }
}

function families({ ipv6, dual }: { ipv6?: boolean; dual?: boolean }): readonly Family[] {
  if (dual) return ['ipv4', 'ipv6']
  return ipv6 ? ['ipv6'] : ['ipv4']
}

function parse(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        nodes: { type: 'string' },
        backend: { type: 'string' },
        ipv6: { type: 'boolean' },
        dual: { type: 'boolean' },
        'two-segments': { type: 'boolean' },
        keep: { type: 'boolean' },
        down: { type: 'boolean' },
        json: { type: 'boolean' },
      },
    })
  } catch (cause) {
    throw new UsageError(`${cause instanceof Error ? cause.message : cause}\n\n${usage}`, { cause })
  }
}
