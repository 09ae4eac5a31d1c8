import { styleText } from 'node:util'
import { printable } from '../../lease/common/printable.ts'
import type { Utilisation } from '../diagnose/address_space.ts'
import type { MapRow, SubnetMap } from '../diagnose/subnet_map.ts'
import { printColumns } from './columns.ts'

export interface MapStyle {
  /** In characters; Infinity: every column. */
  readonly width: number
  readonly color: boolean
  /** Nodes whose rows stand out. */
  readonly changed: ReadonlySet<string>
}

const plain: MapStyle = { width: Number.POSITIVE_INFINITY, color: false, changed: new Set() }

/** The leases, below them why one is refused and what is no lease. */
export function printMap(map: SubnetMap, style: MapStyle = plain): string {
  const { networks, backend, leases, problems } = map
  const refused = leases.flatMap(({ node, refused }) =>
    refused === null ? [] : [`refused ${node}: ${refused}`],
  )
  const noted = leases.flatMap(({ node, note }) => (note === null ? [] : [`note on ${node}: ${note}`]))
  const broken = problems.map(({ key, reason }) => `no lease ${key}: ${reason}`)
  const title = `network ${networks.join(' + ')}, backend ${backend}, ${leases.length} leases`
  const use = map.utilisation.map(printUtilisation)
  const rows = printColumns(columnsOf(leases, style), style.width)
  const notes = [...refused, ...noted, ...broken].map(text => printable(text, 1_000))
  return [title, ...use, '', ...rows, '', ...notes].join('\n').trimEnd().concat('\n')
}

/** For scripts; the fields are those of SubnetMap. */
export function printJson(map: SubnetMap): string {
  return `${JSON.stringify(map, null, 2)}\n`
}

function printUtilisation({ network, subnetLength, total, used, reserved, free }: Utilisation): string {
  const share = Number((BigInt(used) * 1000n) / (BigInt(total) || 1n)) / 10
  return `${network} in /${subnetLength}s: ${used} of ${total} used (${share} %), ${reserved} reserved, ${free} free`
}

function columnsOf(leases: readonly MapRow[], { color, changed }: MapStyle) {
  const column = (head: string, from: number, cell: (row: MapRow) => readonly string[]) => ({
    head,
    from,
    cells: leases.map(row => cell(row).map(text => mark(printable(text), row))),
  })
  const mark = (text: string, { node, refused }: MapRow) => {
    if (!color) return text
    if (changed.has(node)) return styleText('inverse', text, { validateStream: false })
    return refused === null ? text : styleText('red', text, { validateStream: false })
  }
  return [
    column('NODE', 0, ({ node }) => [node]),
    column('SUBNET', 0, ({ subnets }) => subnets),
    column('PUBLIC IP', 0, ({ publicIps }) => publicIps),
    column('BACKEND', 110, ({ backend }) => [backend]),
    column('VTEP MAC', 110, ({ vtepMacs }) => vtepMacs.map(mac => mac ?? '-')),
    column('SINCE', 130, ({ since }) => [since]),
    column('STATE', 0, ({ refused }) => [refused === null ? 'ok' : 'refused']),
  ]
}
