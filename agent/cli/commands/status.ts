import { type Health, healthOf, printStatus } from '../../diagnose/status_document.ts'
import { answer, command, outputFlags } from '../definition/command.ts'
import { askNode, nodeFlags } from '../source/ask_node.ts'

const flags = { ...nodeFlags, ...outputFlags }

const codes: Readonly<Record<Health, number>> = { healthy: 0, degraded: 1, unknown: 2 }

export const status = command(
  { flags, readsStore: true, noAnswerCode: codes.unknown },
  async (values, context) => {
    const document = await askNode(values, context, (node, signal) => node.status(signal))
    answer(values, context.out, document, printStatus)
    return codes[healthOf(document)]
  },
)
