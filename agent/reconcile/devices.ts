import type { Kernel, Scope } from '../kernel/kernel.ts'
import { diff, type EntryMap } from '../state/diff.ts'
import type { Entry, Link } from '../state/entry.ts'
import { needsRebuild, type Operation, type Result } from '../state/operation.ts'
import { entryKey } from '../state/print.ts'

/** An entry is not contested where its device was wrong this recently. */
const RESTLESS_MS = 3_000

/** Kinds that the kernel drops from a device that is set down or loses its last address. FDB entries stay. */
export const droppedByDown: ReadonlySet<Entry['kind']> = new Set(['address', 'neighbor', 'route'] as const)
const droppedByNewMac: ReadonlySet<Entry['kind']> = new Set(['neighbor'] as const)

/** What happened to our devices, and so to the entries on them. */
export interface Mended {
  readonly results: readonly Result[]
  /** Devices that have to wait before they are tried again. */
  readonly held: readonly Entry[]
  /** Names of devices that are new or gone: no entry on them is left. */
  readonly emptied: ReadonlySet<string>
  /** By name of a device that was changed in place, the kinds of entries that it lost. */
  readonly disturbed: ReadonlyMap<string, ReadonlySet<Entry['kind']>>
}

export const nothingMended: Mended = { results: [], held: [], emptied: new Set(), disturbed: new Map() }

/** What the loop knows of a device. */
export interface Views {
  /** Whether a change of the desired state made it wrong. */
  isWanted(key: string): boolean
  /** ms to wait before the next try; 0: none. */
  waitMs(link: Entry): number
}

/**
 * Our own devices: few, and quickly read. They are repaired before anything else, whatever that costs:
 * without them the node is cut off.
 */
export class Devices {
  readonly #kernel: Kernel
  readonly #scope: Scope
  readonly #desired: EntryMap
  readonly #keys: ReadonlySet<string>
  readonly #now: () => number
  #unusable: ReadonlySet<string> = new Set()
  /** When each device was last found wrong, by name. */
  readonly #wrongAtMs = new Map<string, number>()

  /** `now` is monotonic, in ms. */
  constructor(kernel: Kernel, scope: Scope, desired: EntryMap, now: () => number) {
    this.#now = now
    this.#kernel = kernel
    this.#scope = scope
    this.#desired = desired
    this.#keys = new Set(scope.devices.map(name => `link ${name}`))
  }

  /**
   * Names of devices that are missing or must be recreated: the kernel could attach their entries to another
   * interface.
   */
  get unusable(): ReadonlySet<string> {
    return this.#unusable
  }

  /** Whether the device is not as desired, or was so a moment ago, without a change of the desired state. */
  isRestless(name: string | undefined): boolean {
    const wrongAtMs = this.#wrongAtMs.get(name ?? '')
    return wrongAtMs !== undefined && this.#now() - wrongAtMs < RESTLESS_MS
  }

  /** The keys of our devices. */
  get keys(): ReadonlySet<string> {
    return this.#keys
  }

  async mend({ isWanted, waitMs }: Views, signal: AbortSignal): Promise<Mended> {
    const links = await this.#kernel.devices(this.#scope, signal)
    const actual = new Map(links.map(link => [entryKey(link), link]))
    const operations = diff(this.#keys, actual, this.#desired)
    const drifted = operations.filter(({ entry }) => !isWanted(entryKey(entry)))
    for (const name of namesOf(drifted)) this.#wrongAtMs.set(name, this.#now())
    const held = operations.filter(({ entry }) => waitMs(entry) > 0)
    const due = operations.filter(operation => !held.includes(operation))
    const results = due.length > 0 ? await this.#kernel.apply(due, signal) : []
    const failed = results.flatMap(({ operation, error }) => (error === undefined ? [] : [operation]))
    const done = due.filter(operation => !failed.includes(operation))
    const emptied = namesOf(done.filter(isRemade))
    // The notification of the deletion must arrive before anything is put on the new device.
    if (emptied.size > 0) await this.#kernel.caughtUp(signal)
    this.#unusable = namesOf([...held, ...failed].filter(({ verb }) => verb !== 'delete').filter(isRemade))
    return {
      results,
      held: held.map(({ entry }) => entry),
      emptied,
      disturbed: new Map(done.flatMap(operation => disturbance(operation))),
    }
  }
}

function namesOf(operations: readonly Operation[]): ReadonlySet<string> {
  return new Set(operations.flatMap(({ entry }) => (entry.kind === 'link' ? [entry.name] : [])))
}

function isRemade(operation: Operation): boolean {
  return operation.verb !== 'replace' || needsRebuild(operation.was as Link, operation.entry as Link)
}

function disturbance(operation: Operation): [string, ReadonlySet<Entry['kind']>][] {
  if (isRemade(operation) || operation.verb !== 'replace') return []
  const [was, is] = [operation.was as Link, operation.entry as Link]
  if (was.up !== is.up) return [[is.name, droppedByDown]]
  return was.mac === is.mac ? [] : [[is.name, droppedByNewMac]]
}
