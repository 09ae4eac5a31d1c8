import { bool } from '../config/go_flags.ts'
import { printHop } from '../diagnose/trace/hop.ts'
import type { Trace } from '../diagnose/trace/trace.ts'
import { askNode, nodeFlags } from './ask_node.ts'
import { command } from './command.ts'

const flags = { ...nodeFlags, json: bool(false, 'print JSON') }

/**
 * `twill trace SRC DST`: addresses, or names of nodes, which stand for the node's own address in the overlay. Run it on the host of
 * SRC. Exit code 1 where a hop is broken.
 */
export const trace = command(
  { flags, readsStore: true, operands: ['<SRC>', '<DST>'] },
  async ({ json, ...values }, context) => {
    const [from = '', to = ''] = context.operands
    const found = await askNode(values, context, node => node.trace(from, to))
    context.out.write(json ? `${JSON.stringify(found, null, 2)}\n` : printTrace(found))
    return found.broken === null ? 0 : 1
  },
)

function printTrace({ from, to, peer, hops, broken, unseen }: Trace): string {
  const title = `${from} -> ${to}${peer === null ? '' : ` (${peer})`}`
  const notes = unseen.map(what => `not seen: ${what}`)
  const end =
    broken === null
      ? 'This host is sound for this packet. The way back is seen by the same command on the other host.'
      : `Broken at: ${broken.step}${broken.why === undefined ? '' : `: ${broken.why}`}`
  return [title, ...hops.map(printHop), ...notes, end].join('\n').concat('\n')
}
