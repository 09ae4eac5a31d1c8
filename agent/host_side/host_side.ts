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

type FilterOptions = Pick<TunnelFilterOptions, 'resyncMs' | 'nftGeneration'>

export interface HostSideOptions {
  readonly firewall: Firewall
  readonly files: NodeFiles
  readonly hostWatch: HostWatch
  /** Undefined: tunnel packets that no peer sent are not dropped. */
  readonly tunnelFilter: FilterOptions | undefined
  /** Undefined: peers' probes are not answered. */
  readonly probePort: number | undefined
  readonly traceForPeer: ResponderOptions['trace']
  readonly log: Log
}

/** What the agent does on its host beside the kernel entries. */
export class HostSide {
  readonly firewall: Firewall
  readonly files: NodeFiles
  readonly hostWatch: HostWatch
  readonly #options: HostSideOptions
  readonly #programmed = new WakeUp()
  /** Set when this node's own overlay addresses may have changed. */
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
    const tasks: ((all: AbortSignal) => Promise<never>)[] = [
      all => this.firewall.keep(all),
      all => this.#keepFiles(node, all),
      all => this.#watchHost(all),
    ]
    if (tunnelFilter !== undefined) tasks.push(all => this.#filterTunnel(tunnelFilter, node, all))
    if (probePort !== undefined) tasks.push(all => this.#answerProbes(probePort, node, all))
    return runTogether(signal, tasks)
  }

  /** Call it after the first full pass: from then on every missing entry is a finding. */
  programmed(): void {
    this.#programmed.set()
  }

  /** This node has other subnets. */
  setSubnets(families: readonly FamilySubnet[]): void {
    this.firewall.setOverlay(families)
    this.files.review()
    this.#addressesChanged.set()
  }

  /** Checks the host, the firewall and the files soon. */
  review(families: readonly FamilySubnet[]): void {
    this.hostWatch.review()
    this.setSubnets(families)
  }

  /** A peer with this public IP may have joined, or the last such peer left; `reviewTunnel` follows. */
  peerChanged(publicIp: Ip): void {
    this.#tunnelFilter?.touch(publicIp)
  }

  /** The peers, or the tunnel to them, may have changed. */
  reviewTunnel(): void {
    this.#tunnelFilter?.review()
  }

  /** Pods can use the overlay after the first pass, and once the firewall masquerades. */
  async #keepFiles(node: NodeNow, signal: AbortSignal): Promise<never> {
    await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    await this.firewall.inPlace(signal)
    return await this.files.keep(() => node.cniConfig, signal)
  }

  async #watchHost(signal: AbortSignal): Promise<never> {
    await this.#programmed.wait(Number.POSITIVE_INFINITY, signal)
    return await this.hostWatch.run(signal)
  }

  async #filterTunnel(options: FilterOptions, node: NodeNow, signal: AbortSignal): Promise<never> {
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
