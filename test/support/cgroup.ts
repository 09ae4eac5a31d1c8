import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { runSync } from './exec.ts'
import { until } from './until.ts'

/** File names of cgroup version 1 and of version 2. */
const controllers = {
  memory: [
    { mount: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', used: 'memory.usage_in_bytes' },
    { mount: '/sys/fs/cgroup', limit: 'memory.max', used: 'memory.current' },
  ],
  pids: [
    { mount: '/sys/fs/cgroup/pids', limit: 'pids.max', used: 'pids.current' },
    { mount: '/sys/fs/cgroup', limit: 'pids.max', used: 'pids.current' },
  ],
} as const

type Controller = keyof typeof controllers

/** A cgroup with a limit: bytes of memory, or threads of all its processes. */
export class Cgroup {
  readonly folder: string
  readonly #controller: Controller
  readonly #names: (typeof controllers)[Controller][number]

  /** Undefined, with a warning, where none can be made here: that needs root and a delegated controller. */
  static make(controller: Controller, limit: number): Cgroup | undefined {
    const why: string[] = []
    for (const names of controllers[controller]) {
      if (!existsSync(join(names.mount, 'cgroup.procs'))) continue
      try {
        return new Cgroup(controller, names, limit)
      } catch (error) {
        why.push(String(error))
      }
    }
    console.warn(
      `Cannot make a cgroup that limits ${controller}: ${why.join('; ') || 'no such controller here'}`,
    )
    return undefined
  }

  private constructor(
    controller: Controller,
    names: (typeof controllers)[Controller][number],
    limit: number,
  ) {
    this.#controller = controller
    this.#names = names
    this.folder = makeCgroup(names.mount, `test-${controller}`)
    try {
      this.limit(limit)
    } catch (error) {
      rmdirSync(this.folder)
      throw error
    }
  }

  limit(most: number): void {
    writeFileSync(join(this.folder, this.#names.limit), `${most}`)
  }

  /** Bytes of memory in use, without file pages that the kernel can drop. */
  get used(): number {
    const read = (name: string) => readFileSync(join(this.folder, name), 'utf8')
    const used = Number(read(this.#names.used))
    if (this.#controller !== 'memory') return used
    return used - Number(/^inactive_file (\d+)$/m.exec(read('memory.stat'))?.[1])
  }

  /** Moves this process into the cgroup until `act` has ended. */
  async holding(act: () => Promise<void>): Promise<void> {
    const groups = readFileSync('/proc/self/cgroup', 'utf8')
    const home =
      new RegExp(`^\\d+:${this.#controller}:(.*)$`, 'm').exec(groups)?.[1] ??
      /^0::(.*)$/m.exec(groups)?.[1] ??
      '/'
    writeFileSync(join(this.folder, 'cgroup.procs'), `${process.pid}`)
    try {
      await act()
    } finally {
      writeFileSync(join(this.#names.mount, home, 'cgroup.procs'), `${process.pid}`)
    }
  }

  /** Words to put in front of a command: a shell that enters the cgroup and becomes the command. */
  get wrapper(): readonly string[] {
    return ['sh', '-c', `echo $$ > ${this.folder}/cgroup.procs; exec "$@"`, 'sh']
  }

  /** Removes the cgroup once all of its processes have ended. */
  async remove(): Promise<void> {
    await removeCgroup(this.folder)
  }
}

/**
 * Makes a cgroup whose name nothing else on this machine uses: cgroups are not part of a shelter, and another
 * shelter has the same pids. First removes the old cgroups of test runs that were killed.
 */
export function makeCgroup(parent: string, name: string): string {
  for (const other of readdirSync(parent).filter(one => one.startsWith('twill-'))) {
    const folder = join(parent, other)
    if (isLeftover(folder)) removeNow(folder)
  }
  return mkdtempSync(join(parent, `twill-${name}-`))
}

/** Removes a cgroup and those below it, once their last process has ended. */
export async function removeCgroup(folder: string): Promise<void> {
  await until(`${folder} to be removed`, () => removeNow(folder))
}

/** An hour is longer than any test run. A younger cgroup may belong to a run that has not filled it yet. */
function isLeftover(folder: string): boolean {
  try {
    return Date.now() - statSync(folder).ctimeMs > 3600_000 && !isPopulated(folder)
  } catch {
    // Another process has just removed it.
    return false
  }
}

/** Whether a process is in it, or below it. Version 1 does not tell: there the kernel refuses the removal. */
function isPopulated(folder: string): boolean {
  const events = join(folder, 'cgroup.events')
  return existsSync(events) && readFileSync(events, 'utf8').includes('populated 1')
}

/** False where a process is still in one of them. */
function removeNow(folder: string): boolean {
  runSync(['find', folder, '-depth', '-type', 'd', '-delete'])
  return !existsSync(folder)
}
