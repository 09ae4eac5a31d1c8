import { bool } from '../config/go_flags.ts'
import { printFindings } from '../diagnose/doctor/finding.ts'
import { askNode, nodeFlags } from './ask_node.ts'
import { command } from './command.ts'

const flags = { ...nodeFlags, json: bool(false, 'print JSON') }

/** `twill doctor`: exit code 0 where nothing is wrong, 1 where pods cannot reach peers, 2 where there are only risks. */
export const doctor = command({ flags, readsStore: true }, async ({ json, ...values }, context) => {
  const findings = await askNode(values, context, node => node.doctor())
  context.out.write(json ? `${JSON.stringify(findings, null, 2)}\n` : printFindings(findings))
  if (findings.some(({ severity }) => severity === 'broken')) return 1
  return findings.length > 0 ? 2 : 0
})
