import { shellQuote } from '../../lease/common/shell_quote.ts'

/** One thing that is done to a host; printed as the command that does it, or the file. */
export type Act =
  | { readonly kind: 'write'; readonly path: string; readonly text: string; readonly mode: number }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'run'; readonly command: readonly string[] }
  /** A command that ends once the agent is ready, or has ended itself. */
  | { readonly kind: 'start'; readonly command: readonly string[] }

export interface Step {
  readonly act: Act
  readonly why: string
  /** The host is so already. */
  readonly isDone: boolean
  /** What takes it back, in this order. */
  readonly undo: readonly Undo[]
}

export interface Undo extends Pick<Step, 'act' | 'why'> {
  /** Left out where the one that guards it failed. */
  readonly role?: 'guard' | 'guarded'
}

/** Longest text of a file that is shown whole: a unit is longer. */
const SHOWN_LINES = 20
/** Of a file that root alone may read. */
export const SECRET_MODE = 0o600

export function printAct(act: Act): string {
  if (act.kind === 'write') return `write ${act.path}`
  if (act.kind === 'remove') return `remove ${act.path}`
  return shellQuote(...act.command)
}

/** What a step does and why, a line each, and the text of a file. */
export function printStep({ act, why }: Undo): string {
  const lines = act.kind === 'write' && act.mode !== SECRET_MODE ? act.text.trimEnd().split('\n') : []
  const shown = lines.length > SHOWN_LINES ? [] : lines.map(line => `      ${line}\n`)
  return `  ${printAct(act)}\n      # ${why}\n${shown.join('')}`
}

/** Takes back what these steps did, the last one first. */
export function undoOf(steps: readonly Step[]): readonly Undo[] {
  return steps.toReversed().flatMap(({ undo }) => undo)
}
