import type { Prefix } from '../../lease/net/prefix.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'

/** One or two, IPv4 first. */
export type Overlay = readonly FamilySubnet[]

export interface Outcome {
  readonly changed: boolean
  /** Names another program's rule that makes ours ineffective, and what to do. */
  readonly warning: string | undefined
  readonly names: readonly string[]
}

export interface FirewallMode {
  /** The tool that writes the rules, for the log. */
  readonly name: string
  /** Whether nftables holds the rules, so that its generation reports changes. Known after converge(). */
  readonly usesNftables: boolean
  /**
   * Makes the rules as wished. The first call also removes ours of families that the overlay lacks: those
   * that name one of the `own` networks. Throws FirewallError.
   */
  converge(overlay: Overlay, own: readonly Prefix[], signal: AbortSignal): Promise<Outcome>
  /** Removes the rules of these networks where the tools are installed. True where there were some. */
  removeAll(networks: readonly Prefix[], signal: AbortSignal): Promise<boolean>
}
