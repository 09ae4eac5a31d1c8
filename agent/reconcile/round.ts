import type { Result } from '../state/operation.ts'

export interface Round {
  /** Why this was a full pass; undefined for a round of single keys. */
  readonly fullPass: string | undefined
  readonly results: readonly Result[]
  /** Keys that were wrong without a change of the desired state: another program changed the kernel. */
  readonly drift: ReadonlySet<string>
  /** Keys of entries that another program keeps undoing. */
  readonly contested: ReadonlySet<string>
  readonly durationMs: number
}
