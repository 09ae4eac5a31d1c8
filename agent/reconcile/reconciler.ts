import { WakeUp } from '../../lease/common/wake_up.ts'
import type { KernelChange } from '../kernel/kernel.ts'
import { diff } from '../state/diff.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import { entryDevice, entryKey } from '../state/print.ts'
import { ActualState } from './actual_state.ts'
import { Attempts } from './attempts.ts'
import { BurstGate } from './burst_gate.ts'
import { Devices, droppedByDown, nothingMended } from './devices.ts'
import type { ReconcilerOptions } from './options.ts'
import { PassBudget } from './pass_budget.ts'

/** How long after the repair of a device all of the kernel is looked at. */
const VERIFY_MS = 1_000

/**
 * Makes the kernel say what is desired, and keeps it so: one loop, never two rounds at once. Events only name the keys that
 * may be wrong; a round makes these right, a full pass all of them. Devices come first, then what sits on them. Started once
 * the first complete lease table is there, so that nothing is pruned for want of knowledge.
 */
export class Reconciler {
  readonly attempts: Attempts
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
  #roundBeganMs: number | undefined
  /** When the first of those that have to wait is due. */
  #retryAtMs = Number.POSITIVE_INFINITY

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.attempts = new Attempts(this.#now)
    this.#gate = new BurstGate(this.#now)
    this.#devices = new Devices(options.kernel, options.scope, options.desired, this.#now)
    this.#actual = new ActualState(options.desired)
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
      this.#actual.announce(key, entry)
      // The place may be free that another program's route had.
      if (entry === undefined) this.attempts.retry([key])
      if (this.#actual.isRight(key)) continue
      this.#dirty.add(key)
      this.#gate.count()
    }
    for (const { name, hasDropped } of change.devices) {
      if (this.#devices.isKey(`link ${name}`)) this.#dirty.add(`link ${name}`)
      if (hasDropped) this.#dropped.add(name)
    }
    if (change.everything !== undefined) this.requestFullPass(change.everything)
    if (this.#dirty.size + this.#dropped.size > 0) this.#wakeUp.set()
  }

  /** Looks at all of the kernel in the next round. The first pass stays the first one, whatever else asks for it. */
  requestFullPass(reason: string): void {
    if (this.#fullPass !== 'start') this.#fullPass = reason
    this.#wakeUp.set()
  }

  /** Tries at once what the kernel refused: something that it may depend on has changed. */
  retryFailing(): void {
    this.attempts.retry()
    this.#wakeUp.set()
  }

  /** How long the round that runs now has taken; 0 between two rounds. */
  get roundMs(): number {
    return this.#roundBeganMs === undefined ? 0 : this.#now() - this.#roundBeganMs
  }

  /** Until the signal aborts; rejects with its reason, or with the first error of the kernel's socket itself. */
  async run(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#gate.pass(() => this.#isCauseKnown(), signal)
      this.#roundBeganMs = this.#now()
      const waitMs = await this.#round(signal).finally(() => {
        this.#roundBeganMs = undefined
      })
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
    const applied = this.#withoutLost(await this.#actual.apply(due, this.#options.kernel, signal))
    this.#record(applied, drift)
    for (const key of this.#wanted) if (!this.#dirty.has(key)) this.#wanted.delete(key)
    if (fullPass !== undefined) this.#hasStarted = true

    const results = [...devices, ...applied]
    const durationMs = this.#now() - startedMs
    if (fullPass !== undefined || results.length > 0)
      this.#options.onRound({
        fullPass,
        results,
        drift,
        contested: this.attempts.contestedIn(results),
        durationMs,
      })
    const nowMs = this.#now()
    const nextPassMs = fullPass === undefined && asked !== undefined ? passWaitMs : this.#resyncInMs(nowMs)
    return Math.ceil(Math.max(0, Math.min(this.#retryAtMs - nowMs, nextPassMs)))
  }

  /** Where a full pass is asked for, or a device may be wrong. What the kernel dropped from a device is put there again. */
  async #mendDevices(isAsked: boolean, drift: Set<string>, signal: AbortSignal): Promise<readonly Result[]> {
    const dirty = [...this.#dirty].filter(key => this.#devices.isKey(key))
    for (const key of dirty) this.#dirty.delete(key)
    const views = {
      isWanted: (key: string) => this.#isWanted(key),
      waitMs: (link: Entry) => this.attempts.waitMs(link),
    }
    const mended = isAsked || dirty.length > 0 ? await this.#devices.mend(views, signal) : nothingMended
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

  /** All entries on a device that was just mended: none of them has to wait any longer. */
  #touchAll(dev: string, keys: readonly string[]): void {
    const isWanted = this.#isWanted(`link ${dev}`)
    this.attempts.retryOn(dev, keys)
    for (const key of keys) {
      this.#dirty.add(key)
      if (isWanted) this.#wanted.add(key)
    }
  }

  /** What failed because its device went meanwhile is no refusal: the device is mended first in the next round. */
  #withoutLost(results: readonly Result[]): readonly Result[] {
    const isLost = ({ operation, error }: Result) =>
      error !== undefined && this.#dirty.has(`link ${entryDevice(operation.entry)}`)
    for (const one of results) if (isLost(one)) this.#putOff(entryKey(one.operation.entry))
    return results.filter(one => !isLost(one))
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
    if (this.attempts.waitMs(entry) === 0) return true
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
    this.#retryAtMs = Math.min(this.#retryAtMs, this.#now() + this.attempts.waitMs(entry))
  }

  /** Adds to `drift` the keys that had drifted. */
  #record(results: readonly Result[], drift: Set<string>): void {
    for (const { operation } of results) {
      const key = entryKey(operation.entry)
      if (!this.#isWanted(key)) drift.add(key)
    }
    // What goes with its device is not undone by itself.
    const isUndone = (entry: Entry) =>
      drift.has(entryKey(entry)) && !this.#devices.isRestless(entryDevice(entry))
    this.attempts.record(results, isUndone)
    for (const { operation, error } of results) if (error !== undefined) this.#tryLater(operation.entry)
  }

  #isWanted(key: string): boolean {
    return !this.#hasStarted || this.#wanted.has(key)
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
