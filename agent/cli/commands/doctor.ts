import { printFindings } from '../../diagnose/doctor/finding.ts'
import { answer, command, outputFlags } from '../definition/command.ts'
import { askNode, nodeFlags } from '../source/ask_node.ts'

const flags = { ...nodeFlags, ...outputFlags }

/** `twill doctor`: exit codes as of status: 0 no problem, 1 a problem, 2 unknown. */
export const doctor = command({ flags, readsStore: true, noAnswerCode: 2 }, async (values, context) => {
  const findings = await askNode(values, context, (node, signal) => node.doctor(signal))
  answer(values, context.out, findings, printFindings)
  if (findings.length === 0) return 0
  return findings.every(({ severity }) => severity === 'unseen') ? 2 : 1
})
