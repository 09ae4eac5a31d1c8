import type { Prefix } from '../../../lease/net/prefix.ts'
import type { Entry } from '../../state/entry.ts'
import type { HostFacts } from '../host_facts.ts'
import type { AgentFacts, NodeView } from '../node_view.ts'
import type { Finding } from './finding.ts'

/** What stands in the files that CNI plugins and Docker read. */
export interface NodeFileFacts {
  readonly subnetFile: string
  /** Subnets that it names; undefined where the file is not there. */
  readonly subnets: readonly Prefix[] | undefined
}

/** All that a doctor looks at. */
export interface Patient {
  readonly view: NodeView
  readonly facts: HostFacts
  /** All that is ours in the kernel. */
  readonly actual: readonly Entry[]
  /** Undefined where no agent answers. */
  readonly agent: AgentFacts | undefined
  readonly files: NodeFileFacts
  /** `uname -r`. */
  readonly kernelRelease: string
}

/** One kind of checks: pure, on facts that were read before. */
export type Check = (patient: Patient) => readonly Finding[]
