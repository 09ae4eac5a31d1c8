import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readCgroupMemory } from '../../../agent/status/cgroup_memory.ts'
import { MemoryWatch } from '../../../agent/status/memory_watch.ts'
import { RecordingLog } from '../../support/log.ts'

const MB = 2 ** 20

describe('the memory of the own cgroup', () => {
  let root: string
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'twill-cgroup-'))
  })
  afterEach(() => rmSync(root, { recursive: true }))

  const write = (files: Readonly<Record<string, string>>) => {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true })
      writeFileSync(join(root, name), `${text}\n`)
    }
  }
  const v2 = (cgroup: string, limit: string, used: number, inactive = 0) =>
    write({
      [`sys/fs/cgroup${cgroup}/memory.max`]: limit,
      [`sys/fs/cgroup${cgroup}/memory.current`]: `${used}`,
      [`sys/fs/cgroup${cgroup}/memory.stat`]: `anon 1\ninactive_file ${inactive}\nactive_file 7`,
    })
  const read = async () => {
    const memory = readCgroupMemory(root)
    return memory && `${memory.usedBytes} of ${memory.limitBytes} in ${memory.cgroup.replace(root, '')}`
  }

  it('is that of a service under version 2, without the file pages that the kernel can drop', async () => {
    write({ 'proc/self/cgroup': '0::/system.slice/twilld.service' })
    v2('/system.slice/twilld.service', '1000', 700, 100)
    v2('/system.slice', 'max', 5_000)
    expect(await read()).toBe('600 of 1000 in /sys/fs/cgroup/system.slice/twilld.service')
  })

  it('is that of a group above where that one is fuller', async () => {
    write({ 'proc/self/cgroup': '0::/pod/container' })
    v2('/pod/container', '1000', 500)
    v2('/pod', '1200', 1_100)
    expect(await read()).toBe('1100 of 1200 in /sys/fs/cgroup/pod')
  })

  it("is the mount's root in a container that sees no other", async () => {
    write({ 'proc/self/cgroup': '0::/kubepods/pod1/container2' })
    v2('', '1000', 500)
    expect(await read()).toBe('500 of 1000 in /sys/fs/cgroup')
  })

  it('is read under version 1 too, beside other controllers', async () => {
    write({
      'proc/self/cgroup': '5:cpu,memory:/docker/1\n1:name=systemd:/docker/1\n0::/',
      'sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes': '1000',
      'sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes': '900',
      'sys/fs/cgroup/memory/docker/1/memory.stat': 'inactive_file 5\ntotal_inactive_file 300',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712',
      'sys/fs/cgroup/memory/memory.usage_in_bytes': '1',
    })
    expect(await read()).toBe('600 of 1000 in /sys/fs/cgroup/memory/docker/1')
  })

  it('is unknown where nothing is limited or nothing can be read', async () => {
    expect(await read()).toBeUndefined()
    write({ 'proc/self/cgroup': '0::/a' })
    v2('/a', 'max', 500)
    expect(await read()).toBeUndefined()
  })
})

describe('an agent that nears its memory limit', () => {
  it('says so once, shows it as a risk, and says once that it is over', () => {
    const log = new RecordingLog()
    const watch = new MemoryWatch({ read: () => undefined, release: () => {}, log })
    const look = (used: number) =>
      watch.look({ usedBytes: used * MB, limitBytes: 200 * MB, cgroup: '/sys/fs/cgroup' })
    look(160)
    expect(watch.findings).toEqual([])
    for (const used of [171, 180, 160, 175]) look(used)
    expect(watch.findings.map(({ check, severity, what }) => `${check} ${severity} ${what}`)).toEqual([
      'memory risk 175 MB of the 200 MB of memory that this agent may have are used; at the limit the kernel kills it',
    ])
    look(140)
    look(141)
    watch.look(undefined)
    expect(watch.findings).toEqual([])
    expect(log.lines.map(({ message }) => message)).toEqual([
      '171 MB of the 200 MB of memory that this agent may have are used; at the limit the kernel kills it: ' +
        'raise the limit (resources.limits.memory on Kubernetes, MemoryMax= of the systemd unit)',
      'memory is far from the limit again',
    ])
  })
})
