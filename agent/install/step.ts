import { shellQuote } from '../../lease/common/shell_quote.ts'
import { allFlags } from '../config/flags.ts'
import { shownCommand } from '../config/shown.ts'

/** One change to a host; printed as a command, without passwords, or the path of a file. */
export type Act =
  | { readonly kind: 'write'; readonly path: string; readonly text: string; readonly mode: number }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'run'; readonly command: readonly string[] }
  /** A command that ends once the agent is ready, or has ended itself. */
  | { readonly kind: 'start'; readonly command: readonly string[] }

export interface Step {
  readonly act: Act
  readonly why: string
  readonly isDone: boolean
  /** Undoes the step, in this order. */
  readonly undo: readonly Undo[]
}

export interface Undo extends Pick<Step, 'act' | 'why'> {
  /** A `guarded` act is skipped if the `guard` before it failed. */
  readonly role?: 'guard' | 'guarded'
}

/** Most lines of a file that is shown: a unit is longer. */
const SHOWN_LINES = 20
export const SECRET_MODE = 0o600

export function printAct(act: Act): string {
  if (act.kind === 'write') return `write ${act.path}`
  if (act.kind === 'remove') return `remove ${act.path}`
  return shellQuote(...shownCommand(allFlags, act.command))
}

/** The change and its reason, a line each, then the text of a file. */
export function printStep({ act, why }: Undo): string {
  const lines = act.kind === 'write' && act.mode !== SECRET_MODE ? act.text.trimEnd().split('\n') : []
  const shown = lines.length > SHOWN_LINES ? [] : lines.map(line => `      ${line}\n`)
  return `  ${printAct(act)}\n      # ${why}\n${shown.join('')}`
}

/** The acts that undo these steps, the last step first. */
export function undoOf(steps: readonly Step[]): readonly Undo[] {
  return steps.toReversed().flatMap(({ undo }) => undo)
}
