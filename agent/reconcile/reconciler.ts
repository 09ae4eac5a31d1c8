import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Kernel, KernelChange, Scope } from '../kernel/kernel.ts'
import { diff } from '../state/diff.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import { entryDevice, entryKey, printsSame } from '../state/print.ts'
import { Attempts } from './attempts.ts'
import { Echoes } from './echoes.ts'
import { PassBudget } from './pass_budget.ts'
import { schedule, withoutDevices } from './schedule.ts'
import { Storm } from './storm.ts'

/** Without its device a node is cut off, and trying again costs one message: it is not left waiting for long. */
const DEVICE_LONGEST_MS = 5_000

/** What one round found and did. */
export interface Round {
  /** Why the whole kernel was looked at; undefined for a round of single keys. */
  readonly fullPass: string | undefined
  readonly results: readonly Result[]
  /** Keys that were wrong though nothing new was desired: somebody else changed the kernel. */
  readonly drift: ReadonlySet<string>
  readonly durationMs: number
}

export interface ReconcilerOptions {
  readonly kernel: Kernel
  readonly scope: Scope
  /** What shall stand, by `entryKey`; live. */
  readonly desired: ReadonlyMap<string, Entry>
  /** ms between full passes that nothing asked for. */
  readonly resyncMs: number
  readonly onRound: (round: Round) => void
  /** Monotonic, in ms. */
  readonly now?: () => number
}

/**
 * Makes the kernel say what is desired, and keeps it so: one loop, never two rounds at once. Events only name the keys that
 * may be wrong; a round makes these right, a full pass all of them. Started once the first complete lease table is there,
 * so that nothing is pruned for want of knowledge.
 */
export class Reconciler {
  readonly attempts = new Attempts()
  readonly #options: ReconcilerOptions
  readonly #now: () => number
  readonly #wakeUp = new WakeUp()
  readonly #echoes = new Echoes()
  /** As far as known: the last snapshot, what was applied and what the kernel said since. Links come first. */
  #actual = new Map<string, Entry>()
  #dirty = new Set<string>()
  /** What changed in `desired` and was not done yet: that it is wrong is no drift. */
  #wanted = new Set<string>()
  /** What the kernel said while a snapshot or an apply was on its way: newer than that one's answer. Undefined while none is. */
  #observed: Map<string, Entry | undefined> | undefined
  readonly #storm: Storm
  #fullPass: string | undefined = 'start'
  readonly #budget = new PassBudget()
  #lastFullPassMs = 0

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#storm = new Storm(this.#now)
  }

  /** Desired entries under these keys may have changed. */
  touch(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#dirty.add(key)
      this.#wanted.add(key)
      this.attempts.forget(key)
    }
    this.#wakeUp.set()
  }

  /** What the kernel says has changed. */
  observe(change: KernelChange): void {
    for (const { key, entry } of change.entries) {
      if (this.#echoes.isOvertaken(key, entry)) continue
      this.#observed?.set(key, entry)
      this.#believe(key, entry)
      if (this.#dirty.has(key)) this.#storm.gust()
    }
    if (change.everything !== undefined) {
      this.#echoes.clear()
      this.#askFullPass(change.everything)
    }
    if (this.#dirty.size > 0 || this.#fullPass !== undefined) this.#wakeUp.set()
  }

  /** Looks at all of the kernel in the next round. */
  requestFullPass(reason: string): void {
    this.#askFullPass(reason)
    this.#wakeUp.set()
  }

  /** Tries at once what the kernel refused: something that it may depend on has changed. */
  retryFailing(): void {
    this.attempts.retryFailing(this.#now())
    this.#wakeUp.set()
  }

  /** Until the signal aborts; rejects with its reason, or with the first error of the kernel's socket itself. */
  async run(signal: AbortSignal): Promise<never> {
    for (;;) {
      signal.throwIfAborted()
      await this.#storm.over(() => this.#fullPass !== undefined, signal)
      const waitMs = await this.#round(signal)
      await this.#wakeUp.wait(waitMs, signal)
    }
  }

  /** Returns ms until the next one is due by itself. */
  async #round(signal: AbortSignal): Promise<number> {
    const { onRound } = this.#options
    const startedMs = this.#now()
    const asked = this.#fullPass ?? (this.#resyncInMs(startedMs) <= 0 ? 'resync' : undefined)
    const passWaitMs = asked === undefined ? Number.POSITIVE_INFINITY : this.#budget.waitMs(startedMs)
    const fullPass = passWaitMs === 0 ? asked : undefined
    const isWanted = asked === 'start' ? () => true : isIn(this.#wanted)
    const devices = asked === undefined ? [] : await this.#mendDevices(signal)
    const mended = this.#record(devices, new Set(), isWanted)
    if (fullPass !== undefined) await this.#look(signal)

    const keys = fullPass === undefined ? this.#dirty : this.#wrongKeys()
    this.#dirty = new Set()
    this.#wanted = new Set()
    const { due, held, waitMs } = schedule(
      diff(keys, this.#actual, this.#options.desired),
      this.#actual,
      key => this.attempts.waitMs(key, this.#now()),
    )
    for (const { entry } of held) this.#putOff(entryKey(entry), isWanted)

    const applied = await this.#apply(due, isWanted, signal)
    const results = [...devices, ...applied]
    const restless = deviceNames([...devices.map(({ operation }) => operation), ...due, ...held])
    const drift = new Set([...mended, ...this.#record(applied, restless, isWanted)])
    const durationMs = this.#now() - startedMs
    if (fullPass !== undefined || results.length > 0) onRound({ fullPass, results, drift, durationMs })
    const nextPassMs =
      asked !== undefined && fullPass === undefined ? passWaitMs : this.#resyncInMs(this.#now())
    return Math.ceil(Math.min(waitMs, this.#retryInMs(results), Math.max(0, nextPassMs)))
  }

  /** Devices first, and whatever the rest costs to look at: without them a node is cut off. */
  async #mendDevices(signal: AbortSignal): Promise<readonly Result[]> {
    const { kernel, scope, desired } = this.#options
    const actual = new Map((await kernel.devices(scope, signal)).map(link => [entryKey(link), link]))
    const wanted = [...desired].filter(([, { kind }]) => kind === 'link').map(([key]) => key)
    const operations = diff(new Set([...actual.keys(), ...wanted]), actual, desired)
    const due = operations.filter(({ entry }) => this.attempts.waitMs(entryKey(entry), this.#now()) === 0)
    if (due.length === 0) return []
    const results = await kernel.apply(due, signal)
    if (results.some(({ error }) => error === undefined)) this.attempts.release(this.#now())
    return results
  }

  async #look(signal: AbortSignal): Promise<void> {
    this.#fullPass = undefined
    this.#budget.spend(this.#now())
    this.#observed = new Map()
    const entries = await this.#options.kernel.snapshot(this.#options.scope, signal)
    const { desired } = this.#options
    this.#actual = new Map()
    for (const entry of entries) {
      const key = entryKey(entry)
      const shared = sharedIfEqual(entry, desired.get(key))
      // Of several under one key (an FDB entry's destinations) a wrong one must be seen.
      if (shared !== desired.get(key) || !this.#actual.has(key)) this.#actual.set(key, shared)
    }
    for (const [key, entry] of this.#observed) this.#believe(key, entry)
    this.#observed = undefined
    this.#lastFullPassMs = this.#now()
    this.attempts.prune(this.#lastFullPassMs)
  }

  /** Where what is differs from what shall be; all keys where a device does, for the sake of what sits on it. */
  #wrongKeys(): Iterable<string> {
    const { desired } = this.#options
    const wrong = new Set<string>()
    for (const [key, entry] of this.#actual) if (desired.get(key) !== entry) wrong.add(key)
    for (const key of desired.keys()) if (!this.#actual.has(key)) wrong.add(key)
    const isLink = (key: string) => (desired.get(key) ?? this.#actual.get(key))?.kind === 'link'
    return [...wrong].some(isLink) ? new Set([...this.#actual.keys(), ...desired.keys()]) : wrong
  }

  #believe(key: string, entry: Entry | undefined): void {
    const want = this.#options.desired.get(key)
    if (entry === undefined) this.#actual.delete(key)
    else if (entry.kind === 'link' && !this.#actual.has(key))
      this.#actual = new Map([[key, sharedIfEqual(entry, want)], ...this.#actual])
    else this.#actual.set(key, sharedIfEqual(entry, want))
    if (this.#actual.get(key) !== want) this.#dirty.add(key)
  }

  /** Devices first: what sits on one that cannot be had is not tried, lest it land elsewhere. */
  async #apply(
    due: readonly Operation[],
    isWanted: (key: string) => boolean,
    signal: AbortSignal,
  ): Promise<readonly Result[]> {
    const { kernel } = this.#options
    const isDevice = ({ verb, entry }: Operation) => entry.kind === 'link' && verb !== 'delete'
    this.#observed = new Map()
    const devices = due.filter(isDevice)
    const results = devices.length > 0 ? [...(await kernel.apply(devices, signal))] : []
    const failed = results.filter(({ error }) => error !== undefined).map(({ operation }) => operation)
    const others = due.filter(operation => !isDevice(operation))
    const now = failed.length > 0 ? withoutDevices(others, failed, this.#actual) : { due: others, held: [] }
    for (const { entry } of now.held) this.#putOff(entryKey(entry), isWanted)
    for (const { verb, entry } of now.due)
      this.#echoes.await(entryKey(entry), verb === 'delete' ? undefined : entry)
    if (now.due.length > 0) results.push(...(await kernel.apply(now.due, signal)))
    return results
  }

  /** Looked at again in the next round; what was no drift until now is none then. */
  #putOff(key: string, isWanted: (key: string) => boolean): void {
    this.#dirty.add(key)
    if (isWanted(key)) this.#wanted.add(key)
  }

  /** Takes over what was applied, unless the kernel has said something newer. Returns the keys that had drifted. */
  #record(
    results: readonly Result[],
    restless: ReadonlySet<string>,
    isWanted: (key: string) => boolean,
  ): Set<string> {
    const drift = new Set<string>()
    const nowMs = this.#now()
    for (const { operation, error } of results) {
      const { entry, verb } = operation
      const key = entryKey(entry)
      if (!isWanted(key)) drift.add(key)
      if (error !== undefined) {
        const longestMs = entry.kind === 'link' ? DEVICE_LONGEST_MS : undefined
        this.attempts.failed(key, error, nowMs, longestMs)
        this.#echoes.forget(key)
        this.#putOff(key, isWanted)
        continue
      }
      // What goes with its device is not undone by itself.
      if (drift.has(key) && !restless.has(entryDevice(entry) ?? '')) this.attempts.repaired(key, nowMs)
      else this.attempts.forget(key)
      if (!this.#observed?.has(key)) this.#believe(key, verb === 'delete' ? undefined : entry)
    }
    this.#observed = undefined
    return drift
  }

  /** ms until the first of those that were refused is tried again. */
  #retryInMs(results: readonly Result[]): number {
    const nowMs = this.#now()
    const refused = results.filter(({ error }) => error !== undefined)
    const waits = refused.map(({ operation }) => this.attempts.waitMs(entryKey(operation.entry), nowMs))
    return waits.reduce((least, ms) => Math.min(least, ms), Number.POSITIVE_INFINITY)
  }

  /** The first pass stays the first one, whatever else asks for it. */
  #askFullPass(reason: string): void {
    if (this.#fullPass !== 'start') this.#fullPass = reason
  }

  #resyncInMs(nowMs: number): number {
    return this.#lastFullPassMs + this.#options.resyncMs - nowMs
  }
}

/** Devices that are not as desired. */
function deviceNames(operations: readonly Operation[]): ReadonlySet<string> {
  return new Set(operations.flatMap(({ entry }) => (entry.kind === 'link' ? [entry.name] : [])))
}

function isIn(keys: ReadonlySet<string>): (key: string) => boolean {
  return key => keys.has(key)
}

/** One object for what is and what shall be, where they are equal: half the memory, and `===` says that all is well. */
function sharedIfEqual(entry: Entry, want: Entry | undefined): Entry {
  return want !== undefined && printsSame(want, entry) ? want : entry
}
