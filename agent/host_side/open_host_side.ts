import type { Log } from '../../lease/common/log.ts'
import type { Lease } from '../../lease/lease.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import { nodeSubnets } from '../../lease/node_subnets.ts'
import type { AgentConfig } from '../config/config.ts'
import { Firewall } from '../firewall/firewall.ts'
import { removeTunnelFilter } from '../firewall/tunnel_filter.ts'
import { loadNftGeneration } from '../netlink/nft_generation.ts'
import { NodeFiles } from '../node_files/node_files.ts'
import { HostWatch, type HostWatchOptions } from '../status/host_watch.ts'
import { HostSide, type HostSideOptions } from './host_side.ts'

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
