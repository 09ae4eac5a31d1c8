import type { Lease, LeaseTableChange } from '../../lease/lease.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { StoreOptions } from '../../lease/options.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import type { EntryMap } from '../state/diff.ts'

/** One node's desired state, from which every document is made; by the agent, or by the CLI without one. */
export interface NodeView {
  readonly network: NetworkConfig
  readonly backend: Backend
  readonly storeKind: StoreOptions['kind']
  /** Undefined if this host has no lease. */
  readonly self: Lease | undefined
  readonly underlay: Underlay
  readonly leases: LeaseTableChange
  /** Why a peer is not programmed, by node. */
  readonly refused: ReadonlyMap<string, string>
  /** Desired kernel entries, by key. */
  readonly desired: EntryMap
}

/** Why the agent of this host, which runs or may run, gave no status. */
export interface AgentSilence {
  /** `waiting`: it has no lease yet. `unasked`: it could not be asked. */
  readonly kind: 'waiting' | 'unasked'
  readonly why: string
}

/** Facts that only the agent knows. */
export interface AgentFacts {
  readonly kind: 'answers'
  readonly version: string
  readonly pid: number
  /** Why it is not ready, the newest reason first; empty: ready. */
  readonly notReady: readonly string[]
  /** Whether its rules are in place; else why not. */
  readonly firewall: string
  readonly store: {
    /** Date.now() of the last answer; undefined before the first. */
    readonly lastContactMs: number | undefined
    readonly trouble: string | undefined
  }
}
