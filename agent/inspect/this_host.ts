import { release } from 'node:os'
import type { NodeSource } from '../diagnose/node_documents.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { portHolder } from '../netlink/port_holder.ts'
import { askPeer } from '../probe/ask_peer.ts'
import { probe } from '../probe/prober.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import { readNodeFiles } from './read_files.ts'
import { readHost } from './read_host.ts'

/** The facts of a node that are read from its host, by the agent or by the CLI. */
export function thisHost(
  kernel: Pick<Kernel, 'snapshot'>,
  subnetFile: string,
  cniConfigFile: string | undefined,
): Pick<NodeSource, 'snapshot' | 'hostFacts' | 'files' | 'portHolder' | 'probe' | 'ask' | 'kernelRelease'> {
  return {
    snapshot: ({ backend }, signal) =>
      kernel.snapshot({ devices: backend.devices, routeProtocol: TWILL_PROTOCOL }, signal),
    hostFacts: readHost,
    files: () => readNodeFiles(subnetFile, cniConfigFile),
    portHolder: port => portHolder('udp', port),
    probe,
    ask: askPeer,
    kernelRelease: release(),
  }
}
