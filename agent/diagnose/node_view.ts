import type { Lease, LeaseTableChange } from '../../lease/lease.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import type { StoreOptions } from '../../lease/options.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import type { EntryMap } from '../state/diff.ts'

/**
 * One node as its store says it should be: what every document is made from. The agent makes it from what it holds, the CLI
 * from the store and the kernel where no agent answers; the documents cannot tell which.
 */
export interface NodeView {
  readonly network: NetworkConfig
  readonly backend: Backend
  readonly storeKind: StoreOptions['kind']
  /** Undefined where this host has no lease. */
  readonly self: Lease | undefined
  readonly underlay: Underlay
  readonly leases: LeaseTableChange
  /** Why a peer is not programmed, by node. */
  readonly refused: ReadonlyMap<string, string>
  /** What should stand in the kernel, by key. */
  readonly desired: EntryMap
}

/** What an agent alone can tell of itself. */
export interface AgentFacts {
  readonly version: string
  readonly pid: number
  /** Reasons why it is not ready, the newest first; empty: ready. */
  readonly notReady: readonly string[]
  readonly store: {
    /** Date.now() of the last answer; undefined before the first. */
    readonly lastContactMs: number | undefined
    readonly trouble: string | undefined
  }
}
