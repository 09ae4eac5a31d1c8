import type { Prefix } from '../../../lease/net/prefix.ts'
import type { Operation } from '../../state/operation.ts'
import type { CniConfigFile } from '../cni_configs.ts'
import type { HostFacts } from '../host_facts.ts'
import type { AgentFacts, AgentSilence, NodeView } from '../node_view.ts'
import type { Found } from './finding.ts'

export interface NodeFileFacts {
  readonly subnetFile: string
  /** Subnets that the file names; undefined if there is no file. */
  readonly subnets: readonly Prefix[] | undefined
  readonly ipMasq: boolean
  /** The directory from which the container runtime takes its network, and its configs, by name. */
  readonly cni: { readonly directory: string; readonly configs: readonly CniConfigFile[] }
}

export interface Patient {
  readonly view: NodeView
  readonly facts: HostFacts
  readonly drift: readonly Operation[]
  /** Undefined if no agent answers. */
  readonly agent: AgentFacts | AgentSilence | undefined
  readonly files: NodeFileFacts
  /** Processes that hold the UDP port of a missing overlay device, by port. */
  readonly portHolders: ReadonlyMap<number, string>
  /** `uname -r`. */
  readonly kernelRelease: string
}

export type Check = (patient: Patient) => Found
