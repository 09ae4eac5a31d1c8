import type { Kernel, Scope } from '../kernel/kernel.ts'
import { diff, type EntryMap } from '../state/diff.ts'
import type { Entry, Link } from '../state/entry.ts'
import { needsRebuild, type Operation, type Result } from '../state/operation.ts'
import { entryKey } from '../state/print.ts'

/** An entry does not count as undone by another program when its device was wrong within this time. */
const WRONG_LATELY_MS = 3_000

/** Dropped by the kernel from a device that is set down or loses its last address. FDB entries stay. */
export const droppedByDown: ReadonlySet<Entry['kind']> = new Set(['address', 'neighbor', 'route'] as const)
const droppedByNewMac: ReadonlySet<Entry['kind']> = new Set(['neighbor'] as const)

/** The repairs of our devices, and what these did to the entries on them. */
export interface DeviceRepairs {
  readonly results: readonly Result[]
  /** Devices whose next repair has to wait. */
  readonly held: readonly Entry[]
  /** Names of devices that were created or deleted: no entry on them is left. */
  readonly emptied: ReadonlySet<string>
  /** For each device that was changed in place, by name: the kinds of entries that it lost. */
  readonly droppedKinds: ReadonlyMap<string, ReadonlySet<Entry['kind']>>
}

export const noRepairs: DeviceRepairs = { results: [], held: [], emptied: new Set(), droppedKinds: new Map() }

/** Our own devices: few, quickly read, and repaired first, because without them the node is cut off. */
export class Devices {
  readonly #kernel: Kernel
  readonly #scope: Scope
  readonly #desired: EntryMap
  readonly keys: ReadonlySet<string>
  readonly #now: () => number
  /** Missing, or to be recreated. Their entries wait: the kernel could attach them to another interface. */
  unusable: ReadonlySet<string> = new Set()
  /** When each device was last found wrong, by name. */
  readonly #wrongAtMs = new Map<string, number>()

  /** `now` is monotonic, in ms. */
  constructor(kernel: Kernel, scope: Scope, desired: EntryMap, now: () => number) {
    this.#now = now
    this.#kernel = kernel
    this.#scope = scope
    this.#desired = desired
    this.keys = new Set(scope.devices.map(name => `link ${name}`))
  }

  /** Whether the device is or was wrong shortly before, unexplained by a change of the desired state. */
  wasWrongLately(name: string | undefined): boolean {
    const wrongAtMs = this.#wrongAtMs.get(name ?? '')
    return wrongAtMs !== undefined && this.#now() - wrongAtMs < WRONG_LATELY_MS
  }

  /** `isExpected`: the desired state changed, which is no drift. `waitMs`: before the next try. */
  async repair(
    isExpected: (key: string) => boolean,
    waitMs: (link: Entry) => number,
    signal: AbortSignal,
  ): Promise<DeviceRepairs> {
    const links = await this.#kernel.devices(this.#scope, signal)
    const actual = new Map(links.map(link => [entryKey(link), link]))
    const operations = diff(this.keys, actual, this.#desired)
    const drifted = operations.filter(({ entry }) => !isExpected(entryKey(entry)))
    for (const name of namesOf(drifted)) this.#wrongAtMs.set(name, this.#now())
    const held = operations.filter(({ entry }) => waitMs(entry) > 0)
    const due = operations.filter(operation => !held.includes(operation))
    const results = due.length > 0 ? await this.#kernel.apply(due, signal) : []
    const failed = results.flatMap(({ operation, error }) => (error === undefined ? [] : [operation]))
    const done = due.filter(operation => !failed.includes(operation))
    const emptied = namesOf(done.filter(isRecreated))
    // The notification of the deletion must arrive before anything is put on the new device.
    if (emptied.size > 0) await this.#kernel.caughtUp(signal)
    this.unusable = namesOf([...held, ...failed].filter(({ verb }) => verb !== 'delete').filter(isRecreated))
    return {
      results,
      held: held.map(({ entry }) => entry),
      emptied,
      droppedKinds: new Map(done.flatMap(operation => droppedKindsOf(operation))),
    }
  }
}

function namesOf(operations: readonly Operation[]): ReadonlySet<string> {
  return new Set(operations.flatMap(({ entry }) => (entry.kind === 'link' ? [entry.name] : [])))
}

function isRecreated(operation: Operation): boolean {
  return operation.verb !== 'replace' || needsRebuild(operation.was as Link, operation.entry as Link)
}

function droppedKindsOf(operation: Operation): [string, ReadonlySet<Entry['kind']>][] {
  if (isRecreated(operation) || operation.verb !== 'replace') return []
  const [was, is] = [operation.was as Link, operation.entry as Link]
  if (was.up !== is.up) return [[is.name, droppedByDown]]
  return was.mac === is.mac ? [] : [[is.name, droppedByNewMac]]
}
