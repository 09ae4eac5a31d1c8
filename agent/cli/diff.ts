import { bool } from '../config/go_flags.ts'
import type { DiffDocument } from '../diagnose/diff_document.ts'
import { askNode, nodeFlags } from './ask_node.ts'
import { command } from './command.ts'

const flags = { ...nodeFlags, json: bool(false, 'print JSON') }

/** `twill diff`: what differs between this host's kernel and what its leases ask for. Exit code 1 where something does. */
export const diff = command({ flags, readsStore: true }, async ({ json, ...values }, context) => {
  const document = await askNode(values, context, node => node.diff())
  context.out.write(json ? `${JSON.stringify(document, null, 2)}\n` : printDiff(document))
  return document.commands.length + document.shadows.length > 0 ? 1 : 0
})

function printDiff({ commands, shadows }: DiffDocument): string {
  if (commands.length + shadows.length === 0) return 'The kernel is as desired\n'
  const foreign = shadows.map(({ wanted, used }) => `# ${used} is used instead of ${wanted}`)
  return [...commands, ...foreign].join('\n').concat('\n')
}
