import type { Kernel, Scope } from '../kernel/kernel.ts'
import type { Entry } from '../state/entry.ts'
import type { Round } from './round.ts'

export interface ReconcilerOptions {
  readonly kernel: Kernel
  readonly scope: Scope
  /** What shall stand, by `entryKey`; live. */
  readonly desired: ReadonlyMap<string, Entry>
  /** ms between full passes that nothing asked for. */
  readonly resyncMs: number
  readonly onRound: (round: Round) => void
  /** Monotonic, in ms. */
  readonly now?: () => number
}
