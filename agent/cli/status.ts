import { bool } from '../config/go_flags.ts'
import { type Health, healthOf, printStatus } from '../diagnose/status_document.ts'
import { askNode, nodeFlags } from './ask_node.ts'
import { command } from './command.ts'

const flags = { ...nodeFlags, json: bool(false, 'print JSON') }

/** Exit codes of status and doctor, for scripts. */
const healthCodes: Readonly<Record<Health, number>> = { healthy: 0, degraded: 1, unknown: 2 }

/** `twill status`: this node in ten lines. */
export const status = command({ flags, readsStore: true }, async ({ json, ...values }, context) => {
  const document = await askNode(values, context, node => node.status())
  context.out.write(json ? `${JSON.stringify(document, null, 2)}\n` : printStatus(document))
  return healthCodes[healthOf(document)]
})
