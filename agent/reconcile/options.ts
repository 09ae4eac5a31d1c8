import type { Kernel, Scope } from '../kernel/kernel.ts'
import type { Entry } from '../state/entry.ts'
import type { Round } from './round.ts'

export interface ReconcilerOptions {
  readonly kernel: Kernel
  readonly scope: Scope
  /** The desired entries by `entryKey`. Live: it changes with the leases. */
  readonly desired: ReadonlyMap<string, Entry>
  readonly resyncMs: number
  readonly onRound: (round: Round) => void
  /** Monotonic, in ms. */
  readonly now?: () => number
}
