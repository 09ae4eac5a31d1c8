import { bool, FlagError, string } from '../config/go_flags.ts'
import type { MapRow, SubnetMap } from '../diagnose/subnet_map.ts'
import { askMap, nodeFlags, timeoutMs, watchedStore } from './ask_node.ts'
import { type CommandContext, command, type Output } from './command.ts'
import { printJson, printMap } from './print_map.ts'
import { watchMap } from './watch_map.ts'

const flags = {
  ...nodeFlags,
  json: bool(false, 'print JSON'),
  output: string('', "'json': the same as --json"),
  format: string('table', 'table, json, dot, svg or html: the last two draw the address space in one file'),
  sort: string('subnet', 'subnet, node, ip or state'),
  wide: bool(false, 'print all columns, whatever the width of the terminal'),
  watch: bool(false, 'go on and show changes as they come, until Ctrl-C'),
}

/** `twill map`: the leases in the store, each with why agents would refuse it. */
export const map = command({ flags, readsStore: true }, async (values, context) => {
  const format = formatOf(values)
  const sort = orders[values.sort]
  if (sort === undefined)
    throw new FlagError(`--sort is '${values.sort}': it must be subnet, node, ip or state`)
  const sorted = (found: SubnetMap) => ({ ...found, leases: sort(found.leases) })
  const style = () => styleOf(context.out, context.env, values.wide)
  if (values.watch) {
    if (format !== 'table') throw new FlagError('--watch goes with the table only')
    const print = (found: SubnetMap, changed: ReadonlySet<string>) =>
      printMap(sorted(found), { ...style(), changed })
    await watchMap(watchedStore(context), timeoutMs(values), print, context.out)
    return 0
  }
  context.out.write(await draw(format, sorted(await askMap(values, context)), style()))
  return 0
})

type Format = 'table' | 'json' | 'dot' | 'svg' | 'html'

function formatOf({ json, output, format }: { json: boolean; output: string; format: string }): Format {
  if (output !== '' && output !== 'json') throw new FlagError(`--output is '${output}': it must be json`)
  if (json || output === 'json') return 'json'
  const known: readonly string[] = ['table', 'json', 'dot', 'svg', 'html']
  if (!known.includes(format))
    throw new FlagError(`--format is '${format}': it must be one of ${known.join(', ')}`)
  return format as Format
}

type Order = (rows: readonly MapRow[]) => readonly MapRow[]

/** The map itself stands in the order of the subnets. */
const orders: Readonly<Record<string, Order>> = {
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
  return { width: width ?? Number.POSITIVE_INFINITY, color, changed: new Set<string>() }
}

async function draw(format: Format, found: SubnetMap, style: ReturnType<typeof styleOf>): Promise<string> {
  if (format === 'table') return printMap(found, style)
  if (format === 'json') return printJson(found)
  const { drawDot, drawHtml, drawSvg } = await import('./draw_map.ts')
  if (format === 'dot') return drawDot(found)
  return format === 'svg' ? drawSvg(found) : drawHtml(found)
}
