import type { Prefix } from '../../lease/net/prefix.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'

/** What one look at the rules came to. */
export interface Outcome {
  readonly changed: boolean
  /** Which rule of another program keeps our rules from taking effect, and what to do. */
  readonly warning: string | undefined
  /** Names of the chains or tables that hold our rules. */
  readonly names: readonly string[]
}

/** One way of having rules in the kernel. */
export interface FirewallMode {
  /** What the rules were written with, for the log. */
  readonly name: string
  /**
   * Whether it is nftables that holds the rules, its generation thus tells of changes to them. Known after
   * converge().
   */
  readonly ofNftables: boolean
  /**
   * Makes the rules as wished. The first call also removes ours of families that the overlay lacks. `own`:
   * networks whose rules, under flanneld's names, are ours. Throws FirewallError.
   */
  converge(overlay: readonly FamilySubnet[], own: readonly Prefix[], signal: AbortSignal): Promise<Outcome>
  /** Removes the rules of these networks, as far as the tools are there; true where there were some. */
  removeAll(networks: readonly Prefix[], signal: AbortSignal): Promise<boolean>
}
