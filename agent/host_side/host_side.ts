import type { Log } from '../../lease/common/log.ts'
import { runTogether } from '../../lease/common/tasks.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Lease } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import { type FamilySubnet, nodeSubnets } from '../../lease/node_subnets.ts'
import type { AgentConfig } from '../config/config.ts'
import { Firewall } from '../firewall/firewall.ts'
import { removeTunnelFilter, TunnelFilter, type TunnelFilterOptions } from '../firewall/tunnel_filter.ts'
import { loadNftGeneration } from '../netlink/nft_generation.ts'
import { NodeFiles } from '../node_files/node_files.ts'
import { answerProbes, type ResponderOptions } from '../probe/responder.ts'
import { HostWatch, type HostWatchOptions } from '../status/host_watch.ts'
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

export interface HostSideWish
  extends Pick<HostSideOptions, 'traceForPeer'>,
    Pick<HostWatchOptions, 'examine'> {
  readonly config: AgentConfig
  readonly network: NetworkConfig
  readonly self: Lease
  /** Networks that this node had in its previous run. */
  readonly previousNetworks: readonly Prefix[]
  /** Called when the firewall, the files or the host may have become ready or unready. */
  readonly onChange: () => void
  readonly log: Log
}

/** Builds the host's side from the flags and the network config. Changes nothing on the host yet. */
export async function openHostSide(wish: HostSideWish): Promise<HostSide> {
  const { config, network, self, previousNetworks, onChange, log } = wish
  const nftGeneration = await loadNftGeneration()
  const { ipMasq, resyncMs } = config.firewall
  const nftables = network.enableNftables
  const firewall = { ...config.firewall, nftables, nftGeneration, previousNetworks, onChange }
  return new HostSide({
    firewall: new Firewall(firewall, nodeSubnets(network, self), log),
    files: new NodeFiles({ ...config, ipMasq, log, onChange }),
    hostWatch: new HostWatch({ examine: wish.examine, onChange, log }),
    tunnelFilter: config.tunnelFilter ? { resyncMs, nftGeneration } : undefined,
    probePort: config.probePort,
    traceForPeer: wish.traceForPeer,
    log,
  })
}

/** Removes the tunnel filter that an earlier run left, where --tunnel-filter is no longer given. */
export async function removeFormerFilter(
  { tunnelFilter }: AgentConfig,
  [device]: readonly string[],
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  if (tunnelFilter || device === undefined) return
  if (await removeTunnelFilter(device, signal))
    log.info({}, 'tunnel filter removed: --tunnel-filter is not given')
}
