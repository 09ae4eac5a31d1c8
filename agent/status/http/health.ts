import { printable } from '../../../lease/common/printable.ts'
import { type AgentStatus, reasonToRestart } from '../status.ts'

/** Longest reason in an answer: reasons contain foreign text. */
const REASON = 1_000

export interface Answer {
  readonly code: number
  readonly text: string
  /** Content type; plain text by default. */
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Whether to restart the agent. Healthy answers use flanneld's words, which probes and scripts look for. */
export function health(status: AgentStatus): Answer {
  const reason = reasonToRestart(status)
  return reason === undefined
    ? { code: 200, text: 'flanneld is running' }
    : { code: 503, text: `flanneld is not running:\n${reason}\n` }
}

/** Unlike flanneld's, it returns to 503 when pods on this node no longer reach their peers. */
export function readiness({ notReady }: AgentStatus): Answer {
  return notReady.length === 0
    ? { code: 200, text: 'flanneld is ready' }
    : { code: 503, text: `flanneld is not ready yet\n${notReady.map(printReason).join('\n')}\n` }
}

/** One check on each line, as the Kubernetes API server prints /readyz?verbose, and the risks. */
export function verboseReadiness({ notReady, checks, findings }: AgentStatus): Answer {
  const lines = checks.map(({ name, reasons }) =>
    reasons.length === 0 ? `[+]${name} ok` : `[-]${name} failed: ${reasons.map(printReason).join('; ')}`,
  )
  const risks = findings
    .filter(({ severity }) => severity === 'risk')
    .map(({ check, what, evidence }) => `[!]${check} risk: ${printReason(`${what} (${evidence})`)}`)
  const isReady = notReady.length === 0
  const result = `readyz check ${isReady ? 'passed' : 'failed'}`
  return { code: isReady ? 200 : 503, text: `${[...lines, ...risks, result].join('\n')}\n` }
}

/** A reason as answers show it. */
export function printReason(reason: string): string {
  return printable(reason, REASON)
}
