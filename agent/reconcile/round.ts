import type { Result } from '../state/operation.ts'

/** What one round found and did. */
export interface Round {
  /** Why the whole kernel was looked at; undefined for a round of single keys. */
  readonly fullPass: string | undefined
  readonly results: readonly Result[]
  /** Keys that were wrong though nothing new was desired: somebody else changed the kernel. */
  readonly drift: ReadonlySet<string>
  /** Keys of what another program keeps undoing. */
  readonly contested: ReadonlySet<string>
  readonly durationMs: number
}
