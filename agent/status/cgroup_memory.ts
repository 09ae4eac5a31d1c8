import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { orUndefined } from '../../lease/common/errors.ts'

/** Memory use of the fullest of this process's cgroups. */
export interface CgroupMemory {
  /** Without file pages that the kernel drops before it kills, as kubelet counts. */
  readonly usedBytes: number
  readonly limitBytes: number
  /** The cgroup's folder. */
  readonly cgroup: string
}

/** File names, cgroup v2 first: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. */
const versions = [
  { mount: '', limit: 'memory.max', used: 'memory.current', inactive: 'inactive_file' },
  {
    mount: 'memory',
    limit: 'memory.limit_in_bytes',
    used: 'memory.usage_in_bytes',
    inactive: 'total_inactive_file',
  },
] as const
/** cgroup v1 writes "no limit" as a number beyond any machine's memory. */
const NO_LIMIT = 2 ** 60

/**
 * Reads the own cgroup and all above it: their limits hold too. Undefined where no limit is set or visible. A
 * container in the host's cgroup namespace sees its own group only as the root of the mount. `root` is for
 * tests.
 */
export function readCgroupMemory(root = '/'): CgroupMemory | undefined {
  const groups = textOf(join(root, 'proc/self/cgroup')) ?? ''
  // cgroups(7): hierarchy:controllers:path. Version 2 has 0 and no controllers.
  const v1 = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(groups)?.[1]
  const v2 = /^0::(.*)$/m.exec(groups)?.[1]
  const [version, path] = v1 === undefined ? [versions[0], v2] : [versions[1], v1]
  if (path === undefined) return undefined
  let fullest: CgroupMemory | undefined
  for (let group = path; ; group = dirname(group)) {
    const one = readGroup(resolve(root, 'sys/fs/cgroup', version.mount, `.${group}`), version)
    if (one !== undefined && shareOf(one) > shareOf(fullest)) fullest = one
    if (group === dirname(group)) return fullest
  }
}

/** Used share of the limit; 0 for none. */
export function shareOf(memory: CgroupMemory | undefined): number {
  return memory === undefined ? 0 : memory.usedBytes / memory.limitBytes
}

function readGroup(cgroup: string, names: (typeof versions)[number]): CgroupMemory | undefined {
  const limitBytes = Number(textOf(join(cgroup, names.limit)))
  if (!(limitBytes > 0 && limitBytes < NO_LIMIT)) return undefined
  const used = Number(textOf(join(cgroup, names.used)))
  const stat = textOf(join(cgroup, 'memory.stat')) ?? ''
  const inactive = Number(new RegExp(`^${names.inactive} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0)
  return { usedBytes: Math.max(0, used - inactive), limitBytes, cgroup }
}

/** Synchronous: these files lie on no disk, and a read by a thread costs ten times as much. */
function textOf(file: string): string | undefined {
  return orUndefined(() => readFileSync(file, 'utf8').trim())
}
