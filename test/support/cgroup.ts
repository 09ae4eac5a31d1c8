import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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

  /** Undefined where none can be made here: that needs root and a delegated controller. */
  static make(controller: Controller, limit: number): Cgroup | undefined {
    for (const names of controllers[controller]) {
      if (!existsSync(join(names.mount, 'cgroup.procs'))) continue
      const cgroup = new Cgroup(controller, names)
      try {
        mkdirSync(cgroup.folder)
        cgroup.limit(limit)
        return cgroup
      } catch {
        if (existsSync(cgroup.folder)) rmdirSync(cgroup.folder)
      }
    }
    return undefined
  }

  private constructor(controller: Controller, names: (typeof controllers)[Controller][number]) {
    this.#controller = controller
    this.#names = names
    this.folder = join(names.mount, `twill-test-${controller}-${process.pid}`)
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
    await until('the cgroup to be empty', () => {
      try {
        rmdirSync(this.folder)
        return true
      } catch {
        return false
      }
    })
  }
}
