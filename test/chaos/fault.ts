import type { Stage } from './stage.ts'

/** Something that goes wrong, until everything is healed at once. */
export interface Fault {
  readonly name: string
  readonly weight: number
  readonly ofEtcd?: boolean
  /** No call of any agent is answered while it lasts. */
  readonly away?: boolean
  /** Does it, and says whom it befell. Rejects where another fault is in its way. */
  readonly strike: (stage: Stage) => Promise<string>
}
