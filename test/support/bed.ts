import { runSync } from './exec.ts'
import { defaultRoutes, Host } from './host.ts'
import { claimBed, removeBed, removeLeftovers } from './leftovers.ts'
import type { Ground } from './namespace.ts'
import type { Process } from './process.ts'
import { Router } from './router.ts'
import { Segment } from './segment.ts'

/**
 * Hosts as network namespaces on an underlay of their own. Nothing in it reaches this machine's network. All
 * of it is removed by dispose(), and also when the process ends by an error, by exit() or by Ctrl-C.
 *
 *     await using bed = await Bed.create()
 *     const lan = await bed.segment('lan', ['192.168.50.0/24'])
 *     const [h1, h2] = [await bed.host('h1', lan), await bed.host('h2', lan)]
 *     await h1.ping(h2.address())
 */
export class Bed implements Ground {
  readonly id: string
  readonly directory: string
  readonly processes = new Set<Process>()
  readonly hosts: Host[] = []

  private constructor(id: string) {
    this.id = id
    this.directory = claimBed(id)
  }

  /** * `name` is part of the names that `ip netns` lists. */
  static async create({ name = 'bed' }: { name?: string } = {}): Promise<Bed> {
    const why = whyNoBed()
    if (why !== undefined) throw new Error(why)
    removeLeftovers()
    count += 1
    const bed = new Bed(`twill-${name}-${process.pid}${count === 1 ? '' : `.${count}`}`)
    cleanUpOnExit(bed)
    return bed
  }

  /** A segment with at most one prefix a family. */
  segment(name: string, prefixes: readonly string[], { mtu }: { mtu?: number } = {}): Promise<Segment> {
    return Segment.create(this, name, prefixes, mtu)
  }

  async host(name: string, segment: Segment): Promise<Host> {
    const host = await Host.create(this, name, segment)
    this.hosts.push(host)
    return host
  }

  /** Joins segments. It becomes the default gateway of their hosts, present and later ones. */
  async router(name: string, segments: readonly Segment[]): Promise<Router> {
    const router = await Router.create(this, name, segments)
    await Promise.all(
      this.hosts
        .filter(({ segment }) => segments.includes(segment))
        .map(host => host.ip(defaultRoutes(host.segment))),
    )
    return router
  }

  /** The end of every process's output, for the output of a failed test. */
  logs(charactersEach = 4_000): string {
    return Array.from(this.processes, one => section(one, charactersEach)).join('\n')
  }

  /** Leaves the bed standing when this process ends; `removeBed` takes it down. */
  keep(): void {
    open.delete(this)
    claimBed(this.id, true)
    for (const one of this.processes) one.release()
  }

  /** Removes namespaces, devices, processes and files. */
  async dispose(): Promise<void> {
    this.#disposeNow()
    await Promise.allSettled(Array.from(this.processes, one => one.exited))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  #disposeNow(): void {
    for (const one of this.processes) one.signal('SIGKILL')
    removeBed(this.id)
    open.delete(this)
  }

  static disposeAllNow(): void {
    for (const bed of open) bed.#disposeNow()
  }
}

/** Why no bed can be made here, for a test that then is skipped; undefined where one can. */
export function whyNoBed(): string | undefined {
  const { code, stderr } = runSync(['unshare', '--net', 'true'])
  if (code === 0) return undefined
  return `Cannot make network namespaces (${stderr.trim()}): run as root, or through test/support/shelter.sh`
}

let count = 0
const open = new Set<Bed>()

function cleanUpOnExit(bed: Bed): void {
  if (open.size === 0 && count === 1) {
    process.on('exit', () => Bed.disposeAllNow())
    const signals = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }
    for (const [signal, code] of Object.entries(signals)) process.once(signal, () => process.exit(code))
  }
  open.add(bed)
}

function section(one: Process, characters: number): string {
  return `--- ${one.command.slice(2).join(' ')}\n${one.text().slice(-characters)}`
}
