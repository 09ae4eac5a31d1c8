import Table from 'cli-table3'
import type { MapRow, SubnetMap } from '../diagnose/subnet_map.ts'

const head = ['NODE', 'SUBNET', 'PUBLIC IP', 'BACKEND', 'VTEP MAC', 'SINCE', 'STATE']

/** A table without lines, as `kubectl get` prints one; below it why a lease is refused and what is no lease. */
export function printMap({ networks, backend, leases, problems }: SubnetMap): string {
  const table = new Table({
    head,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    chars,
  })
  table.push(...leases.map(cells))
  const refused = leases.flatMap(({ node, refused }) =>
    refused === null ? [] : [`refused ${node}: ${refused}`],
  )
  const broken = problems.map(({ key, reason }) => `no lease ${key}: ${reason}`)
  const title = `network ${networks.join(' + ')}, backend ${backend}, ${leases.length} leases`
  const rows = table
    .toString()
    .split('\n')
    .map(line => line.trimEnd())
  return [title, '', ...rows, '', ...[...refused, ...broken].map(printable)].join('\n').trimEnd().concat('\n')
}

/** For scripts; the fields are those of SubnetMap. */
export function printJson(map: SubnetMap): string {
  return `${JSON.stringify(map, null, 2)}\n`
}

function cells({ node, subnets, publicIps, backend, vtepMacs, since, refused }: MapRow): string[] {
  const columns = [[node], subnets, publicIps, [backend], vtepMacs.map(mac => mac ?? '-'), [since]]
  return [...columns.map(lines => lines.map(printable).join('\n')), refused === null ? 'ok' : 'refused']
}

/** What others wrote into the store must not steer the terminal. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const chars = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '   ',
}
