import { printableDocument } from '../../../lease/common/printable.ts'
import { bool, FlagError, oneOf } from '../../config/go_flags.ts'
import { SOME_TIMES } from '../../diagnose/node_documents.ts'
import type { MapHead, MapRow, SubnetMap } from '../../map/subnet_map.ts'
import { type CommandContext, command, printJson } from '../definition/command.ts'
import type { Output } from '../output/output.ts'
import { type MapStyle, printMapBody, printMapHead } from '../output/print_map.ts'
import { askMap, nodeFlags, timeoutMs, watchedStore } from '../source/ask_node.ts'
import { watchMap } from '../source/watch_map.ts'

const formats = ['table', 'json', 'dot', 'svg', 'html'] as const
type Format = (typeof formats)[number]

const flags = {
  ...nodeFlags,
  json: bool(false, 'print JSON'),
  output: oneOf('', [...formats, 'wide'], 'as kubectl has it: the same as --format, or --wide'),
  format: oneOf('table', formats, 'svg and html draw the address space in one file'),
  sort: oneOf('subnet', ['subnet', 'node', 'ip', 'state'], 'the order of the rows'),
  wide: bool(false, 'print all columns, whatever the width; ask for the ends of more than 1000 leases too'),
  watch: bool(false, 'keep showing changes as they come, until Ctrl-C'),
}

/** `twill map`: the leases in the store, each with the reason if agents refuse it. */
export const map = command({ flags, readsStore: true }, async (values, context) => {
  const { output } = values
  const wide = values.wide || output === 'wide'
  const format = values.json ? 'json' : output === '' || output === 'wide' ? values.format || 'table' : output
  const sort = orders[values.sort || 'subnet']
  const sorted = (found: SubnetMap) => ({ ...found, leases: sort(found.leases) })
  const style = () => styleOf(context.out, context.env, wide)
  if (values.watch) {
    if (format !== 'table') throw new FlagError('--watch goes with the table only')
    const print = (found: SubnetMap, changed: ReadonlySet<string>) =>
      printMap(printableDocument(sorted(found)), { ...style(), changed })
    await watchMap(watchedStore(context), timeoutMs(values, 'store'), print, context.out)
    return 0
  }
  let hasHead = false
  // Judging thousands of leases takes a while: print the totals first.
  const printHead = (head: MapHead, leases: number) => {
    if (format !== 'table') return
    hasHead = true
    context.out.write(printMapHead(head, leases))
  }
  const mostTimes = wide ? Number.MAX_SAFE_INTEGER : SOME_TIMES
  const found = sorted(await askMap(values, context, mostTimes, printHead))
  const body = hasHead ? printMapBody(printableDocument(found), style()) : await draw(format, found, style())
  context.out.write(body)
  return 0
})

function printMap(map: SubnetMap, style: MapStyle): string {
  return printMapHead(map, map.leases.length) + printMapBody(map, style)
}

type Order = (rows: readonly MapRow[]) => readonly MapRow[]

/** The map itself is sorted by subnet. */
const orders: Readonly<Record<'subnet' | 'node' | 'ip' | 'state', Order>> = {
  subnet: rows => rows,
  node: rows => by(rows, ({ node }) => node),
  ip: rows => by(rows, ({ publicIps }) => publicIps.join(' ')),
  state: rows => by(rows, ({ refused }) => (refused === null ? 'b' : 'a')),
}

function by(rows: readonly MapRow[], key: (row: MapRow) => string): readonly MapRow[] {
  const { compare } = new Intl.Collator('en', { numeric: true })
  return rows.toSorted((a, b) => compare(key(a), key(b)))
}

function styleOf(out: Output, env: CommandContext['env'], wide: boolean) {
  const color = out.isTTY === true && (env.NO_COLOR ?? '') === ''
  const width = wide ? undefined : out.isTTY === true ? out.columns : undefined
  return { width: width ?? Number.POSITIVE_INFINITY, color, changed: new Set<string>(), nowMs: Date.now() }
}

async function draw(format: Format, found: SubnetMap, style: ReturnType<typeof styleOf>): Promise<string> {
  if (format === 'json') return printJson(found)
  const map = printableDocument(found)
  if (format === 'table') return printMap(map, style)
  const { drawDot, drawHtml, drawSvg } = await import('../../map/draw_map.ts')
  if (format === 'dot') return drawDot(map)
  return format === 'svg' ? drawSvg(map) : drawHtml(map)
}
