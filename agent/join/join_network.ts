import { randomBytes } from 'node:crypto'
import type { Log } from '../../lease/common/log.ts'
import type { Retrier } from '../../lease/common/retry.ts'
import type { Lease } from '../../lease/lease.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { LeaseStore } from '../../lease/store.ts'
import type { Backend } from '../backend/backend.ts'
import type { AgentConfig } from '../config/config.ts'
import type { Kernel, Scope, UnderlaySource } from '../kernel/kernel.ts'
import { OwnLease } from '../membership/own_lease.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import { overlapWarnings } from '../underlay/host_networks.ts'
import { openUnderlay } from '../underlay/open_underlay.ts'
import type { UnderlayWatch } from '../underlay/underlay_watch.ts'
import { readDeviceMacs, readPreviousRun, readStandingSubnets } from './previous_run.ts'

export interface JoinOptions {
  readonly config: AgentConfig
  readonly store: LeaseStore
  readonly network: NetworkConfig
  readonly backend: Backend
  readonly kernel: Kernel & UnderlaySource
  /** Retries what failed because this host ran out of a resource. */
  readonly retrier: Retrier
  readonly log: Log
  /** Called when `OwnLease.trouble` may have changed. */
  readonly onChange: () => void
  /** Called with what this node waits for now: `a lease`. */
  readonly waitsFor: (what: string) => void
}

/** A node that has its lease. */
export interface Joined {
  readonly scope: Scope
  readonly underlay: UnderlayWatch
  readonly ownLease: OwnLease
  readonly self: Lease
  /** Networks that this node had in its previous run. */
  readonly previousNetworks: readonly Prefix[]
  /**
   * Destinations of our routes that the kernel already had at start; empty where no network of the host
   * overlaps the pod network.
   */
  readonly standing: ReadonlySet<Prefix>
}

/**
 * Chooses the external interface and claims the lease: the one of the previous run where it is still free.
 */
export async function joinNetwork(options: JoinOptions, signal: AbortSignal): Promise<Joined> {
  const { config, network, backend, kernel, retrier, log, waitsFor } = options
  const { previousNetworks, subnetsInFile } = await readPreviousRun(config.subnetFile, signal)
  const networks = [...network.families.map(family => family.network), ...previousNetworks]
  const scope: Scope = { devices: backend.devices, routeProtocol: TWILL_PROTOCOL, networks }
  const underlay = await openUnderlay(
    {
      ...config,
      ...options,
      scope,
      patienceMs: config.underlayPatienceMs,
      onTrouble: trouble => waitsFor(`an external interface: ${trouble}`),
    },
    signal,
  )
  const choose = () => underlay.choose(signal)
  const choice = await retrier.until('choose the external interface', choose, signal)
  const ownSubnets = [...new Set([...subnetsInFile, ...underlay.deviceSubnets])]
  const hostNetworks = underlay.hostNetworks(ownSubnets)
  for (const warning of overlapWarnings(network, hostNetworks)) log.warn({}, warning)
  const readMacs = () => readDeviceMacs(kernel, scope, signal)
  const deviceMacs = await retrier.until('read the devices', readMacs, signal)
  // Kubernetes assigns the subnets, and their length is not in the network config: subnets derived from
  // devices would be wrong.
  const previousSubnets = options.store.reporter === undefined ? ownSubnets : subnetsInFile
  const ownLease = new OwnLease(
    { ...ownLeaseOptions(options, underlay), previousSubnets, deviceMacs },
    choice,
  )
  waitsFor('a lease')
  const self = await ownLease.claim(signal)
  const readSubnets = () => readStandingSubnets(kernel, scope, signal)
  const standing =
    hostNetworks.overlapping.length === 0
      ? new Set<Prefix>()
      : await retrier.until('read our routes in the kernel', readSubnets, signal)
  return { scope, underlay, ownLease, self, previousNetworks, standing }
}

function ownLeaseOptions({ config, ...options }: JoinOptions, underlay: UnderlayWatch) {
  return {
    ...options,
    leaseLost: config.leaseLost,
    hostNetworks: (own: readonly Prefix[]) =>
      underlay.hostNetworks(own).overlapping.map(({ prefix }) => prefix),
    randomBytes: () => randomBytes(6),
  }
}
