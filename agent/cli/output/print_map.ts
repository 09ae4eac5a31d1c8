import { styleText } from 'node:util'
import { printable } from '../../../lease/common/printable.ts'
import type { Utilisation } from '../../map/address_space.ts'
import type { MapHead, MapRow, SubnetMap } from '../../map/subnet_map.ts'
import { type Column, printColumns } from './columns.ts'

export interface MapStyle {
  /** In characters; Infinity: every column. */
  readonly width: number
  readonly color: boolean
  readonly changed: ReadonlySet<string>
  /** The moment that ages are relative to, as of Date.now(). */
  readonly nowMs: number
}

export function printMapHead({ networks, backend, utilisation }: MapHead, leases: number): string {
  const title = `network ${networks.join(' + ')}, backend ${backend}, ${leases} leases`
  return [title, ...utilisation.map(printUtilisation), ''].map(line => `${printable(line)}\n`).join('')
}

/** The leases, and below them refusals and invalid entries. */
export function printMapBody({ leases, problems }: SubnetMap, style: MapStyle): string {
  const refused = leases.flatMap(({ node, refused: why }) => (why ? [`refused ${node}: ${why}`] : []))
  const noted = leases.flatMap(({ node, note }) => (note === null ? [] : [`note on ${node}: ${note}`]))
  const broken = problems.map(({ key, reason }) => `no lease ${key}: ${reason}`)
  const rows = printColumns(columnsOf(leases, style), style.width)
  return [...rows, '', ...refused, ...noted, ...broken].join('\n').trimEnd().concat('\n')
}

function printUtilisation({ network, subnetLength, total, used, reserved, free }: Utilisation): string {
  const share = Number((BigInt(used) * 1000n) / (BigInt(total) || 1n)) / 10
  return `${network} in /${subnetLength}s: ${used} of ${total} used (${share} %), ${reserved} reserved, ${free} free`
}

function columnsOf(leases: readonly MapRow[], { color, changed, nowMs }: MapStyle): readonly Column[] {
  const column = (head: string, rank: number, cell: (row: MapRow) => readonly string[]) => ({
    head,
    rank,
    cells: leases.map(row => cell(row).map(text => mark(printable(text), row))),
  })
  const mark = (text: string, { node, refused, kernel }: MapRow) => {
    if (!color) return text
    if (changed.has(node)) return styleText('inverse', text, { validateStream: false })
    if (refused === null && kernel !== 'differs') return text
    return styleText('red', text, { validateStream: false })
  }
  const isKnown = (key: 'renewedAt' | 'expiresAt' | 'kernel') => leases.some(row => row[key] !== null)
  const all = [
    column('NODE', 0, ({ node }) => [node]),
    column('SUBNET', 0, ({ subnets }) => subnets),
    column('PUBLIC IP', 0, ({ publicIps }) => publicIps),
    column('BACKEND', 3, ({ backend }) => [backend]),
    column('VTEP MAC', 4, ({ vtepMacs }) => vtepMacs.map(mac => mac ?? '-')),
    column('SINCE', 6, ({ since }) => [since]),
    isKnown('renewedAt') && column('AGE', 5, ({ renewedAt }) => [printSpan(renewedAt, nowMs)]),
    isKnown('expiresAt') && column('EXPIRES', 1, ({ expiresAt }) => [printSpan(expiresAt, nowMs)]),
    isKnown('kernel') && column('KERNEL', 2, ({ kernel }) => [kernel ?? '-']),
    column('STATE', 0, ({ refused }) => [refused === null ? 'ok' : 'refused']),
  ]
  return all.filter(one => one !== false)
}

/** Time since or until, as kubectl prints ages: `45s`, `23m`, `21h`, `12d`. */
function printSpan(at: string | null, nowMs: number): string {
  if (at === null || at === 'never') return at ?? '-'
  const seconds = Math.round(Math.abs(Date.parse(at) - nowMs) / 1000)
  const [size, unit] = spans.find(([size]) => seconds >= size * 2) ?? [1, 's']
  return `${Math.floor(seconds / size)}${unit}`
}

const spans = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'm'],
] as const
