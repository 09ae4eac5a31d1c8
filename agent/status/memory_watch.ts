import type { Log } from '../../lease/common/log.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { Finding } from '../diagnose/doctor/finding.ts'
import { type CgroupMemory, shareOf } from './cgroup_memory.ts'

/** Time between two checks. */
const LOOK_MS = 30_000
/** Shares of the limit at which the warning starts and ends. */
const NEAR = 0.85
const FAR = 0.75

export interface MemoryWatchOptions {
  readonly read: () => CgroupMemory | undefined
  /** Returns free memory to the kernel: glibc keeps more with each repair of many entries. */
  readonly release: () => void
  readonly log: Log
}

/** Warns once near the memory limit of this process's cgroup: at the limit the kernel kills it silently. */
export class MemoryWatch {
  readonly #options: MemoryWatchOptions
  /** One finding while memory is near the limit. */
  findings: readonly Finding[] = []

  constructor(options: MemoryWatchOptions) {
    this.#options = options
  }

  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      this.#options.release()
      this.look(this.#options.read())
      await sleep(LOOK_MS, signal)
    }
  }

  look(memory: CgroupMemory | undefined): void {
    const wasNear = this.findings.length > 0
    const isNear = shareOf(memory) >= (wasNear ? FAR : NEAR)
    const finding = isNear && memory !== undefined ? findingOf(memory) : undefined
    this.findings = finding === undefined ? [] : [finding]
    if (isNear === wasNear) return
    if (finding === undefined) this.#options.log.info({}, 'memory is far from the limit again')
    else this.#options.log.warn({ ...memory }, `${finding.what}: ${finding.remedy}`)
  }
}

function findingOf({ usedBytes, limitBytes, cgroup }: CgroupMemory): Finding {
  const [used, limit] = [usedBytes, limitBytes].map(bytes => Math.round(bytes / 2 ** 20))
  return {
    check: 'memory',
    severity: 'risk',
    what: `${used} MB of the ${limit} MB of memory that this agent may have are used; at the limit the kernel kills it`,
    evidence: `the limit of the cgroup ${cgroup}`,
    cause: 'more peers than the limit was set for, other processes in the same cgroup, or a leak',
    remedy: 'raise the limit (resources.limits.memory on Kubernetes, MemoryMax= of the systemd unit)',
  }
}
