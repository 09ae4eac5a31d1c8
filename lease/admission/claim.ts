import type { Lease, Subnet } from '../lease.ts'

/** One family's part of a peer's lease. */
export interface Claim {
  readonly node: string
  /** Position in the sequence of claims and changes of the host; claims of one table are in it by age. */
  readonly order: number
  readonly subnet: Subnet
  /** When it was admitted, in the same sequence as `order`; undefined where it is refused. */
  heldSince: number | undefined
  /** Why the claim is refused; undefined where it is admitted. */
  reason: string | undefined
}

/** A peer's lease and its claims, one for each family. */
export interface Peer {
  readonly lease: Lease
  readonly claims: readonly Claim[]
}

export function isAdmitted({ reason }: Claim): boolean {
  return reason === undefined
}
