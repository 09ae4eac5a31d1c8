import { familyOf, ipOrUndefined } from '../../lease/net/ip.ts'
import { prefixOf } from '../../lease/net/prefix.ts'
import { addressSpace, type Piece } from './address_space.ts'
import type { MapRow, SubnetMap } from './subnet_map.ts'

/** In SVG units, which are pixels at the drawn size. */
const WIDTH = 1200
const GAP = 4
/** Block size by number of blocks: names are readable if they fit, and always searchable. */
const sizes = [
  { upTo: 48, width: 196, height: 56 },
  { upTo: 400, width: 116, height: 34 },
  { upTo: Number.POSITIVE_INFINITY, width: 96, height: 16 },
] as const

const style = `
  :root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #6a737d; --lease: #2f6fde; --refused: #c93c37; --reserved: #8a63d2; --free: #eef1f4; --link: #2f6fde55 }
  @media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e6e9ec; --soft: #9aa4ae; --lease: #4c8bf5; --refused: #e5534b; --reserved: #a98aea; --free: #22272d; --link: #4c8bf566 } }
  svg { background: var(--paper); font-family: ui-sans-serif, system-ui, sans-serif }
  text { fill: var(--ink); font-size: 11px }
  .lease text { fill: #ffffff }
  .lease rect, .key rect { fill: var(--lease) } .refused rect { fill: var(--refused) } .reserved rect { fill: var(--reserved) } .free rect { fill: var(--free) }
  .free text, .soft { fill: var(--soft) }
  .link { stroke: var(--link); stroke-width: 1; fill: none }
  .found rect { stroke: var(--ink); stroke-width: 3 } .hidden { opacity: 0.15 }`

/** The address space as blocks with nodes on it, and the nodes' underlay networks. One file. */
export function drawSvg(map: SubnetMap): string {
  const drawing = new Drawing()
  drawing.text(`${map.networks.join(' + ')}, ${map.backend}, ${map.leases.length} leases`, 'title')
  drawing.legend(map.leases)
  for (const family of map.utilisation) {
    drawing.text(`${family.network} in subnets of /${family.subnetLength}`, 'soft')
    drawing.blocks(addressSpace(family, map.leases))
  }
  drawing.underlay()
  return drawing.svg()
}

/** The same in a page with a search field and the table, self-contained. */
export function drawHtml(map: SubnetMap): string {
  const rows = map.leases.map(row => `<tr><td>${cellsOf(row).map(escapeXml).join('</td><td>')}</td></tr>`)
  const problems = map.problems.map(({ key, reason }) => `<li>${escapeXml(`${key}: ${reason}`)}</li>`)
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>twill map ${escapeXml(map.networks.join(' + '))}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>${style}
  body { margin: 24px; background: var(--paper); color: var(--ink); font: 13px ui-sans-serif, system-ui, sans-serif }
  input { font: inherit; padding: 6px 10px; width: 320px; margin: 0 0 12px } svg { max-width: 100%; height: auto }
  .stale::before { content: 'The agent does not answer: this is its last map'; color: var(--refused) }
  table { border-collapse: collapse; margin-top: 16px } td, th { text-align: left; padding: 2px 14px 2px 0; white-space: nowrap }
</style>
<input id="search" type="search" placeholder="node, subnet or address" aria-label="search">
<main>
${drawSvg(map)}
<table><thead><tr><th>Node</th><th>Subnet</th><th>Public IP</th><th>Backend</th><th>VTEP MAC</th><th>Expires</th><th>Kernel here</th><th>State</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table>
<ul>${problems.join('')}</ul>
</main>
<script>
const field = document.getElementById('search')
const search = () => {
  const wanted = field.value.trim().toLowerCase()
  for (const item of document.querySelectorAll('.lease, tbody tr')) {
    const is = wanted !== '' && item.textContent.toLowerCase().includes(wanted)
    item.classList.toggle('found', is)
    item.classList.toggle('hidden', wanted !== '' && !is)
  }
}
const find = () => {
  search()
  document.querySelector('.lease.found')?.scrollIntoView({ block: 'center' })
}
field.addEventListener('input', find)
field.value = decodeURIComponent(location.hash.slice(1))
find()
// Served by an agent, it follows the network; a file stays as it is.
const follow = async () => {
  try {
    const answer = document.hidden ? undefined : await fetch(location.pathname)
    if (answer?.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('main')
      document.querySelector('main').replaceWith(fresh)
      search()
    }
    document.body.classList.toggle('stale', answer?.ok === false)
  } catch {
    document.body.classList.add('stale')
  }
  setTimeout(follow, 5000)
}
if (location.protocol.startsWith('http')) setTimeout(follow, 5000)
</script></html>
`
}

/** A graph for Graphviz: nodes grouped by their underlay network. */
export function drawDot(map: SubnetMap): string {
  const quote = (text: string) => `"${text.replaceAll(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`
  const lines = map.leases.flatMap(row => {
    const node = `  ${quote(row.node)} [label=${quote([row.node, ...row.subnets].join('\n'))}${row.refused === null ? '' : ', color=red'}]`
    return [node, ...underlaysOf(row).map(name => `  ${quote(row.node)} -- ${quote(name)}`)]
  })
  return `graph twill {\n  node [shape=box]\n${lines.join('\n')}\n}\n`
}

class Drawing {
  #y = 24
  readonly #parts: string[] = []
  readonly #anchors: { readonly row: MapRow; readonly x: number; readonly y: number }[] = []

  text(text: string, kind: string): void {
    this.#parts.push(`<text x="8" y="${this.#y}" class="${kind}">${escapeXml(text)}</text>`)
    this.#y += 20
  }

  /** The meaning of each colour, with its count. */
  legend(rows: readonly MapRow[]): void {
    const words = { lease: 'leased', 'lease refused': 'refused', 'lease reserved': 'reserved', free: 'free' }
    for (const [i, [kind, word]] of Object.entries(words).entries()) {
      const count = kind === 'free' ? '' : ` ${rows.filter(row => kindOf(row) === kind).length}`
      const x = 8 + i * 130
      this.#parts.push(
        `<g class="${kind === 'free' ? 'key free' : kind.replace('lease', 'key')}"><rect x="${x}" y="${this.#y - 9}" width="12" height="12" rx="3"/></g>`,
      )
      this.#parts.push(`<text x="${x + 18}" y="${this.#y}" class="soft">${word}${count}</text>`)
    }
    this.#y += 24
  }

  blocks(pieces: readonly Piece<MapRow>[]): void {
    const size = sizes.find(({ upTo }) => pieces.length <= upTo) ?? sizes[2]
    const perRow = Math.floor(WIDTH / (size.width + GAP))
    for (const [i, piece] of pieces.entries()) {
      const x = 8 + (i % perRow) * (size.width + GAP)
      const y = this.#y + Math.floor(i / perRow) * (size.height + GAP)
      this.#parts.push(block(piece, x, y, size))
      if (piece.kind === 'lease')
        this.#anchors.push({ row: piece.row, x: x + size.width / 2, y: y + size.height })
    }
    this.#y += Math.ceil(pieces.length / perRow) * (size.height + GAP) + 24
  }

  /** Underlay networks, each with a line to its nodes unless there are too many lines to tell apart. */
  underlay(): void {
    const byNetwork = new Map<string, { x: number; y: number }[]>()
    for (const { row, x, y } of this.#anchors)
      for (const name of underlaysOf(row)) byNetwork.set(name, [...(byNetwork.get(name) ?? []), { x, y }])
    const top = this.#y + 60
    for (const [i, [name, nodes]] of Array.from(byNetwork).slice(0, 12).entries()) {
      const x = 100 + i * 190
      if (nodes.length <= 64)
        for (const node of nodes)
          this.#parts.push(
            `<path class="link" d="M${node.x},${node.y} C${node.x},${top - 30} ${x},${top - 40} ${x},${top - 12}"/>`,
          )
      this.#parts.push(`<text x="${x - 60}" y="${top}">${escapeXml(`${name} (${nodes.length})`)}</text>`)
    }
    this.#y = top + 16
  }

  svg(): string {
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH + 16} ${this.#y}" width="${WIDTH + 16}" height="${this.#y}" role="img"><style>${style}</style>
${this.#parts.join('\n')}
</svg>
`
  }
}

function block(piece: Piece<MapRow>, x: number, y: number, size: { width: number; height: number }): string {
  const rect = `<rect x="${x}" y="${y}" width="${size.width}" height="${size.height}" rx="3"/>`
  const line = (text: string, i: number) =>
    `<text x="${x + 5}" y="${y + 12 + i * 13}">${escapeXml(cut(text, size.width))}</text>`
  if (piece.kind === 'free') return `<g class="free">${rect}${line(`${piece.subnets} free`, 0)}</g>`
  const { row, prefix } = piece
  const kind = kindOf(row)
  const most = Math.max(1, Math.floor(size.height / 14))
  const lines = [shortName(row.node), prefix, ...row.publicIps].slice(0, most)
  const title = `<title>${escapeXml(cellsOf(row).join('\n'))}</title>`
  return `<g class="${kind}" data-node="${escapeXml(row.node)}">${title}${rect}${lines.map(line).join('')}</g>`
}

type Kind = 'lease' | 'lease refused' | 'lease reserved'

/** Reservations first: agents refuse them too, as they have no node yet. */
function kindOf({ backend, refused }: MapRow): Kind {
  if (backend === '') return 'lease reserved'
  return refused === null ? 'lease' : 'lease refused'
}

/** The name without its domain, which all nodes share. An address or an etcd key has no domain. */
function shortName(node: string): string {
  return /^[\d.]+-/.test(node) ? node : (node.split('.')[0] ?? node)
}

function cellsOf({ node, subnets, publicIps, backend, refused, ...row }: MapRow): readonly string[] {
  const macs = row.vtepMacs.map(mac => mac ?? '-').join(' + ')
  const verdict = refused === null ? 'ok' : `refused: ${refused}`
  const state = backend === '' ? 'reserved' : verdict
  const places = [subnets.join(' + '), publicIps.join(' + ')]
  return [node, ...places, backend, macs, row.expiresAt ?? '-', row.kernel ?? '-', state]
}

/** The usual prefix lengths of an underlay network: agents do not publish the real one. */
const underlayLength = { ipv4: 24, ipv6: 64 } as const

/** Underlay networks of a node. */
function underlaysOf({ publicIps }: MapRow): string[] {
  return publicIps.flatMap(text => {
    const ip = ipOrUndefined(text)
    return ip === undefined ? [] : [prefixOf(ip, underlayLength[familyOf(ip)])]
  })
}

/** Cuts text to a width: a character of 11 pixels takes at most about 7 units. */
function cut(text: string, width: number): string {
  const room = Math.floor((width - 8) / 7)
  return text.length <= room ? text : `${text.slice(0, room - 1)}…`
}

function escapeXml(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ').replaceAll(/[&<>"']/g, char => `&#${char.charCodeAt(0)};`)
}
