import { printable } from '../../lease/common/printable.ts'
import { type AgentStatus, lifelessness } from './status.ts'

/** A reason is a sentence of ours, with foreign text in it. */
const REASON = 1_000

export interface Answer {
  readonly code: number
  readonly text: string
  /** Content type; plain text by default. */
  readonly type?: string
}

/** Whether to restart the agent. When well, in flanneld's words, which probes and scripts look for. */
export function health(status: AgentStatus): Answer {
  const reason = lifelessness(status)
  return reason === undefined
    ? { code: 200, text: 'flanneld is running' }
    : { code: 503, text: `flanneld is not running:\n${reason}\n` }
}

/** Whether pods on this node reach their peers; unlike flanneld's it goes back to 503 when they do no more. */
export function readiness({ notReady }: AgentStatus): Answer {
  return notReady.length === 0
    ? { code: 200, text: 'flanneld is ready' }
    : { code: 503, text: `flanneld is not ready yet\n${notReady.map(printReason).join('\n')}\n` }
}

/** The same with each check on a line, as the API server of Kubernetes prints its own at /readyz?verbose. */
export function verboseReadiness({ notReady, checks }: AgentStatus): Answer {
  const lines = checks.map(({ name, reasons }) =>
    reasons.length === 0 ? `[+]${name} ok` : `[-]${name} failed: ${reasons.map(printReason).join('; ')}`,
  )
  const isReady = notReady.length === 0
  const result = `readyz check ${isReady ? 'passed' : 'failed'}`
  return { code: isReady ? 200 : 503, text: `${[...lines, result].join('\n')}\n` }
}

function printReason(reason: string): string {
  return printable(reason, REASON)
}
