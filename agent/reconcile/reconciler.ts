import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Kernel, KernelChange, Scope } from '../kernel/kernel.ts'
import { diff } from '../state/diff.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import { entryDevice, entryKey } from '../state/print.ts'
import { ActualState } from './actual_state.ts'
import { BurstGate } from './burst_gate.ts'
import { Contests, type NamedContest } from './contests.ts'
import { Devices, droppedByDown, type Mended, nothingMended } from './devices.ts'
import { PassBudget } from './pass_budget.ts'
import { type Refusal, Refusals } from './refusals.ts'

/** Without its device and its own address a node is cut off, and trying again costs one message. */
const OWN_LONGEST_MS = 1_000
/** How long after the repair of a device all of the kernel is looked at. */
const VERIFY_MS = 1_000

/** What one round found and did. */
export interface Round {
  /** Why the whole kernel was looked at; undefined for a round of single keys. */
  readonly fullPass: string | undefined
  readonly results: readonly Result[]
  /** Keys that were wrong though nothing new was desired: somebody else changed the kernel. */
  readonly drift: ReadonlySet<string>
  /** Keys of what another program keeps undoing. */
  readonly contested: ReadonlySet<string>
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
 * may be wrong; a round makes these right, a full pass all of them. Devices come first, then what sits on them. Started once
 * the first complete lease table is there, so that nothing is pruned for want of knowledge.
 */
export class Reconciler {
  readonly #refusals = new Refusals()
  readonly #contests = new Contests()
  readonly #options: ReconcilerOptions
  readonly #now: () => number
  readonly #wakeUp = new WakeUp()
  readonly #devices: Devices
  readonly #actual: ActualState
  #dirty = new Set<string>()
  /** Dirty because `desired` changed: that these are wrong is no drift. */
  #wanted = new Set<string>()
  /** Devices on which the kernel may have dropped entries without a word. */
  #dropped = new Set<string>()
  #verifyAtMs = Number.POSITIVE_INFINITY
  readonly #gate: BurstGate
  #fullPass: string | undefined = 'start'
  #hasStarted = false
  readonly #budget = new PassBudget()
  #lastFullPassMs = 0
  /** When the first of those that have to wait is due. */
  #retryAtMs = Number.POSITIVE_INFINITY

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#gate = new BurstGate(this.#now)
    this.#devices = new Devices(options.kernel, options.scope, options.desired, this.#now)
    this.#actual = new ActualState(options.desired)
  }

  /** Keys that the kernel refuses, with its words. */
  get failing(): ReadonlyMap<string, Refusal> {
    return this.#refusals.byKey
  }

  /** Entries that another program keeps undoing, by cause. */
  get contested(): ReadonlyMap<string, NamedContest> {
    return this.#contests.named(this.#now())
  }

  /** Desired entries under these keys may have changed. */
  touch(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#dirty.add(key)
      this.#wanted.add(key)
      this.#refusals.delete(key)
    }
    this.#wakeUp.set()
  }

  /** What the kernel says has changed. */
  observe(change: KernelChange): void {
    for (const { key, entry } of change.entries) {
      this.#actual.announce(key, entry)
      if (this.#actual.isRight(key)) continue
      this.#dirty.add(key)
      this.#gate.count()
    }
    for (const { name, hasDropped } of change.devices) {
      if (this.#devices.isKey(`link ${name}`)) this.#dirty.add(`link ${name}`)
      if (hasDropped) this.#dropped.add(name)
    }
    if (change.everything !== undefined) this.#askFullPass(change.everything)
    if (this.#dirty.size + this.#dropped.size > 0 || this.#fullPass !== undefined) this.#wakeUp.set()
  }

  /** Looks at all of the kernel in the next round. */
  requestFullPass(reason: string): void {
    this.#askFullPass(reason)
    this.#wakeUp.set()
  }

  /** Tries at once what the kernel refused: something that it may depend on has changed. */
  retryFailing(): void {
    for (const key of this.#refusals.byKey.keys()) this.#refusals.retry(key)
    this.#wakeUp.set()
  }

  /** Until the signal aborts; rejects with its reason, or with the first error of the kernel's socket itself. */
  async run(signal: AbortSignal): Promise<never> {
    for (;;) {
      signal.throwIfAborted()
      await this.#gate.pass(() => this.#isCauseKnown(), signal)
      const waitMs = await this.#round(signal)
      await this.#wakeUp.wait(waitMs, signal)
    }
  }

  /** Whether it is known why many entries go wrong at once. */
  #isCauseKnown(): boolean {
    return this.#fullPass !== undefined || this.#dropped.size > 0 || this.#devices.isAnyIn(this.#dirty)
  }

  /** Returns ms until the next one is due by itself. */
  async #round(signal: AbortSignal): Promise<number> {
    const startedMs = this.#now()
    const asked = this.#fullPass ?? this.#duePass(startedMs)
    const passWaitMs = asked === undefined ? Number.POSITIVE_INFINITY : this.#budget.waitMs(startedMs)
    const fullPass = passWaitMs === 0 ? asked : undefined
    this.#retryAtMs = Number.POSITIVE_INFINITY

    const drift = new Set<string>()
    const devices = await this.#mendDevices(asked !== undefined, drift, signal)
    const keys = fullPass === undefined ? this.#takeDirtyKeys() : await this.#look(signal)
    const due = diff(keys, this.#actual.entries, this.#options.desired).filter(one => this.#isDue(one))
    const applied = await this.#actual.apply(due, this.#options.kernel, signal)
    this.#record(applied, drift)
    for (const key of this.#wanted) if (!this.#dirty.has(key)) this.#wanted.delete(key)
    if (fullPass !== undefined) this.#hasStarted = true

    const results = [...devices, ...applied]
    const durationMs = this.#now() - startedMs
    if (fullPass !== undefined || results.length > 0)
      this.#options.onRound({ fullPass, results, drift, contested: this.#contestedIn(results), durationMs })
    const nowMs = this.#now()
    const nextPassMs = fullPass === undefined && asked !== undefined ? passWaitMs : this.#resyncInMs(nowMs)
    return Math.ceil(Math.max(0, Math.min(this.#retryAtMs - nowMs, nextPassMs)))
  }

  /** Where a full pass is asked for, or a device may be wrong. What the kernel dropped from a device is put there again. */
  async #mendDevices(isAsked: boolean, drift: Set<string>, signal: AbortSignal): Promise<readonly Result[]> {
    const dirty = [...this.#dirty].filter(key => this.#devices.isKey(key))
    for (const key of dirty) this.#dirty.delete(key)
    const mended = isAsked || dirty.length > 0 ? await this.#mend(signal) : nothingMended
    for (const link of mended.held) this.#tryLater(link)
    for (const dev of mended.emptied) this.#touchAll(dev, this.#actual.empty(dev))
    for (const [dev, kinds] of mended.disturbed) this.#touchAll(dev, this.#actual.disturb(dev, kinds))
    // What went with a device that was made anew is known.
    const dropped = [...this.#dropped].filter(dev => !mended.emptied.has(dev))
    this.#dropped = new Set()
    for (const dev of dropped) this.#touchAll(dev, this.#actual.disturb(dev, droppedByDown))
    this.#record(mended.results, drift)
    if (dropped.length + mended.emptied.size + mended.disturbed.size > 0)
      this.#verifyAtMs = Math.min(this.#verifyAtMs, this.#now() + VERIFY_MS)
    return mended.results
  }

  #mend(signal: AbortSignal): Promise<Mended> {
    const isWanted = (key: string) => this.#isWanted(key)
    return this.#devices.mend({ isWanted, waitMs: link => this.#waitMs(link) }, signal)
  }

  /** All entries on a device that was just mended: none of them has to wait any longer. */
  #touchAll(dev: string, keys: readonly string[]): void {
    const isWanted = this.#isWanted(`link ${dev}`)
    this.#contests.forgetOn(dev)
    for (const key of keys) {
      this.#dirty.add(key)
      if (isWanted) this.#wanted.add(key)
      this.#refusals.retry(key)
    }
  }

  #takeDirtyKeys(): ReadonlySet<string> {
    const keys = this.#dirty
    this.#dirty = new Set([...keys].filter(key => this.#devices.isKey(key)))
    for (const key of this.#dirty) keys.delete(key)
    return keys
  }

  /** Returns the keys that are wrong. */
  async #look(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const { kernel, scope } = this.#options
    this.#fullPass = undefined
    this.#budget.spend(this.#now())
    await this.#actual.read(() => kernel.snapshot(scope, signal))
    this.#lastFullPassMs = this.#now()
    this.#verifyAtMs = Number.POSITIVE_INFINITY
    this.#takeDirtyKeys()
    return this.#actual.wrongKeys()
  }

  /** Holds back what has to wait, and what sits on a device that cannot be used. */
  #isDue({ verb, entry }: Operation): boolean {
    const key = entryKey(entry)
    if (verb !== 'delete' && this.#devices.unusable.has(entryDevice(entry) ?? '')) {
      this.#putOff(key)
      return false
    }
    if (this.#waitMs(entry) === 0) return true
    this.#tryLater(entry)
    return false
  }

  /** Looked at again in the next round; what was no drift until now is none then. */
  #putOff(key: string): void {
    this.#dirty.add(key)
    if (this.#isWanted(key)) this.#wanted.add(key)
  }

  #tryLater(entry: Entry): void {
    this.#putOff(entryKey(entry))
    this.#retryAtMs = Math.min(this.#retryAtMs, this.#now() + this.#waitMs(entry))
  }

  #waitMs(entry: Entry): number {
    const nowMs = this.#now()
    return Math.max(this.#refusals.waitMs(entryKey(entry), nowMs), this.#contests.waitMs(entry, nowMs))
  }

  /** Remembers what had to be done again, and adds to `drift` the keys that had drifted. */
  #record(results: readonly Result[], drift: Set<string>): void {
    const nowMs = this.#now()
    const repaired: Entry[] = []
    for (const { operation, error } of results) {
      const { entry } = operation
      const key = entryKey(entry)
      if (!this.#isWanted(key)) drift.add(key)
      if (error === undefined) {
        this.#refusals.delete(key)
        // What goes with its device is not undone by itself.
        if (drift.has(key) && !this.#devices.isRestless(entryDevice(entry))) repaired.push(entry)
      } else {
        const isOwn = entry.kind === 'link' || entry.kind === 'address'
        this.#refusals.add(key, error, nowMs, isOwn ? OWN_LONGEST_MS : undefined)
        this.#tryLater(entry)
      }
    }
    this.#contests.prune(nowMs)
    this.#contests.repaired(repaired, nowMs)
  }

  #isWanted(key: string): boolean {
    return !this.#hasStarted || this.#wanted.has(key)
  }

  /** The first pass stays the first one, whatever else asks for it. */
  #askFullPass(reason: string): void {
    if (this.#fullPass !== 'start') this.#fullPass = reason
  }

  #contestedIn(results: readonly Result[]): ReadonlySet<string> {
    const entries = results.map(({ operation }) => operation.entry)
    return new Set(entries.filter(entry => this.#contests.isNamed(entry)).map(entryKey))
  }

  #duePass(nowMs: number): string | undefined {
    if (this.#verifyAtMs <= nowMs) return 'a device was repaired'
    return this.#resyncInMs(nowMs) <= 0 ? 'resync' : undefined
  }

  /** ms until a full pass that nothing asked for. */
  #resyncInMs(nowMs: number): number {
    return Math.min(this.#lastFullPassMs + this.#options.resyncMs, this.#verifyAtMs) - nowMs
  }
}
