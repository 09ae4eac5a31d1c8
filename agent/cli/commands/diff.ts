import { bool } from '../../config/go_flags.ts'
import type { DiffDocument } from '../../diagnose/diff_document.ts'
import { answer, command, outputFlags } from '../definition/command.ts'
import { askNode, nodeFlags, tellAgent } from '../source/ask_node.ts'

const flags = {
  ...nodeFlags,
  ...outputFlags,
  fix: bool(false, 'let the agent check and repair everything, then print what still differs'),
}

/**
 * `twill diff`: exit code 1 where the kernel differs from the leases, 2 without an answer. Only the agent
 * changes the kernel.
 */
export const diff = command({ flags, readsStore: true, noAnswerCode: 2 }, async (values, context) => {
  const document = values.fix
    ? (await tellAgent<{ readonly after: DiffDocument }>(values, 'fix')).after
    : await askNode(values, context, (node, signal) => node.diff(signal))
  answer(values, context.out, document, printDiff)
  return document.commands.length + document.shadows.length > 0 ? 1 : 0
})

function printDiff({ commands, shadows }: DiffDocument): string {
  if (commands.length + shadows.length === 0) return 'The kernel is as desired\n'
  const foreign = shadows.map(({ wanted, used }) => `# ${used} is used instead of ${wanted}`)
  return [...commands, ...foreign].join('\n').concat('\n')
}
