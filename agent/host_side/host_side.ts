import type { Log } from '../../lease/common/log.ts'
import { runTogether } from '../../lease/common/tasks.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'
import type { Firewall } from '../firewall/firewall.ts'
import { TunnelFilter, type TunnelFilterOptions } from '../firewall/tunnel_filter.ts'
import type { NodeFiles } from '../node_files/node_files.ts'
import { answerProbes, type ResponderOptions } from '../probe/responder.ts'
import type { HostWatch } from '../status/host_watch.ts'
import type { NodeNow } from './node_now.ts'

export interface HostSideOptions {
  readonly firewall: Firewall
  readonly files: NodeFiles
  readonly hostWatch: HostWatch
  /** Undefined: packets of strangers for the tunnel are not dropped. */
  readonly tunnelFilter: Pick<TunnelFilterOptions, 'resyncMs' | 'nftGeneration'> | undefined
  /** Undefined: peers' probes are not answered. */
  readonly probePort: number | undefined
  readonly traceForPeer: ResponderOptions['trace']
  readonly log: Log
}

/**
 * What a node has on its host beside its kernel entries: firewall rules and the files that pods are made from are kept
 * true, the host is watched, and peers' probes are answered.
 */
export class HostSide {
  readonly firewall: Firewall
  readonly files: NodeFiles
  readonly hostWatch: HostWatch
  readonly #options: HostSideOptions
  readonly #programmed = new WakeUp()
  /** This node's own addresses in the overlay may be others. */
  readonly #addressesChanged = new WakeUp()
  #tunnelFilter: TunnelFilter | undefined

  constructor(options: HostSideOptions) {
    this.#options = options
    this.firewall = options.firewall
    this.files = options.files
    this.hostWatch = options.hostWatch
  }

  run(node: NodeNow, signal: AbortSignal): Promise<void> {
    const { tunnelFilter, probePort } = this.#options
    return runTogether(signal, [
      all => this.firewall.keep(all),
      all => this.#keepFiles(node, all),
      all => this.#watchHost(all),
      ...(tunnelFilter === undefined
        ? []
        : [(all: AbortSignal) => this.#filterTunnel(tunnelFilter, node, all)]),
      ...(probePort === undefined ? [] : [(all: AbortSignal) => this.#answerProbes(probePort, node, all)]),
    ])
  }

  /** The first full pass is over: peers that exist are known, and what is missing is a finding. */
  programmed(): void {
    this.#programmed.set()
  }

  /** This node has other subnets. */
  setSubnets(families: readonly FamilySubnet[]): void {
    this.firewall.setOverlay(families)
    this.files.review()
    this.#addressesChanged.set()
  }

  /** Looks at everything soon. */
  review(families: readonly FamilySubnet[]): void {
    this.hostWatch.review()
    this.setSubnets(families)
  }

  /** A peer with this public IP may have come, or the last one gone; `reviewTunnel` follows. */
  peerChanged(publicIp: Ip): void {
    this.#tunnelFilter?.touch(publicIp)
  }

  /** The peers, or the tunnel to them, may have changed. */
  reviewTunnel(): void {
    this.#tunnelFilter?.review()
  }

  /** Written once pods can use them: after the first pass, and with the rules that masquerade. */
  async #keepFiles(node: NodeNow, signal: AbortSignal): Promise<never> {
    await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    await this.firewall.standing(signal)
    return await this.files.keep(() => node.cniConfig, signal)
  }

  async #watchHost(signal: AbortSignal): Promise<never> {
    await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    return await this.hostWatch.run(signal)
  }

  async #filterTunnel(
    options: Pick<TunnelFilterOptions, 'resyncMs' | 'nftGeneration'>,
    node: NodeNow,
    signal: AbortSignal,
  ): Promise<never> {
    await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    const filter = new TunnelFilter({ ...options, tunnel: () => node.tunnel, log: this.#options.log })
    this.#tunnelFilter = filter
    return await filter.keep(signal)
  }

  #answerProbes(port: number, node: NodeNow, signal: AbortSignal): Promise<never> {
    const { traceForPeer: trace, log } = this.#options
    const isPeer = (address: Ip) => node.isPeerAddress(address)
    const [addresses, addressesChanged] = [() => node.addresses, this.#addressesChanged]
    return answerProbes({ port, addresses, addressesChanged, isPeer, trace, log }, signal)
  }
}
