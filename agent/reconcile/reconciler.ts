import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Kernel, KernelChange, Scope } from '../kernel/kernel.ts'
import { diff } from '../state/diff.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import { entryDevice, entryKey } from '../state/print.ts'
import { ActualState } from './actual_state.ts'
import { Attempts } from './attempts.ts'
import { BurstGate } from './burst_gate.ts'
import { Devices, droppedByDown, noRepairs } from './devices.ts'
import { Passes } from './passes.ts'
import type { Round } from './round.ts'
import { Suspects } from './suspects.ts'

export interface ReconcilerOptions {
  readonly kernel: Kernel
  readonly scope: Scope
  /** The desired entries by `entryKey`. Live: it changes with the leases. */
  readonly desired: ReadonlyMap<string, Entry>
  readonly resyncMs: number
  readonly onRound: (round: Round) => void
  /** Monotonic, in ms. */
  readonly now?: () => number
}

/**
 * Makes the kernel equal to the desired state: one loop, never two rounds at once. Events only name keys that
 * may be wrong; a round repairs these, a full pass all, devices first. Start it once the first complete lease
 * table is known, so that nothing is pruned too early.
 */
export class Reconciler {
  readonly attempts: Attempts
  readonly #options: ReconcilerOptions
  readonly #now: () => number
  readonly #wakeUp = new WakeUp()
  readonly #devices: Devices
  readonly #actual: ActualState
  readonly #suspects: Suspects
  readonly #gate: BurstGate
  readonly #passes: Passes
  #roundBeganMs: number | undefined
  /** When the first key that waits is due. */
  #retryAtMs = Number.POSITIVE_INFINITY

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.attempts = new Attempts(this.#now)
    this.#gate = new BurstGate(this.#now)
    this.#passes = new Passes(options.resyncMs)
    this.#devices = new Devices(options.kernel, options.scope, options.desired, this.#now)
    this.#actual = new ActualState(options.desired)
    this.#suspects = new Suspects(this.#devices.keys)
  }

  /** The desired entries under these keys may have changed. */
  touch(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#suspects.touch(key)
      this.attempts.forget(key)
    }
    this.#wakeUp.set()
  }

  observe(change: KernelChange): void {
    for (const { key, entry } of change.entries) {
      this.#actual.announce(key, entry)
      // Another program may have removed a route that blocked ours.
      if (entry === undefined) this.attempts.retry([key])
      if (this.#actual.isRight(key)) continue
      this.#suspects.add(key)
      // Where the desired entry has just changed, this notification is of our own earlier change: no damage.
      if (!this.#suspects.isTouched(key)) this.#gate.count()
    }
    for (const { name, hasDropped } of change.devices) {
      if (this.#devices.keys.has(`link ${name}`)) this.#suspects.add(`link ${name}`)
      if (hasDropped) this.#suspects.addDropped(name)
    }
    if (change.everything !== undefined) this.requestFullPass(change.everything)
    if (this.#isCauseKnown()) this.#gate.explain()
    if (!this.#suspects.isEmpty) this.#wakeUp.set()
  }

  requestFullPass(reason: string): void {
    this.#passes.ask(reason)
    this.#wakeUp.set()
  }

  /** As `requestFullPass`, and resolves after a full pass that began after this call. */
  async fullPass(reason: string, signal: AbortSignal): Promise<void> {
    this.requestFullPass(reason)
    await this.#passes.next(signal)
  }

  /** Retries at once all entries that the kernel refused: something that they depend on may have changed. */
  retryFailing(): void {
    this.attempts.retry()
    this.#wakeUp.set()
  }

  /** How long the current round has run; 0 between two rounds. */
  get roundMs(): number {
    return this.#roundBeganMs === undefined ? 0 : this.#now() - this.#roundBeganMs
  }

  /** Runs until the signal aborts; rejects with its reason, or with the kernel socket's first error. */
  async run(signal: AbortSignal): Promise<never> {
    // A failed round has lost its keys, so ask for a full pass. The first pass is already asked for.
    if (this.#passes.hasBegun) this.#passes.ask('the last round failed')
    for (;;) {
      await this.#gate.pass(() => this.#isCauseKnown(), signal)
      this.#roundBeganMs = this.#now()
      const waitMs = await this.#round(signal).finally(() => {
        this.#roundBeganMs = undefined
      })
      await this.#wakeUp.wait(waitMs, signal)
    }
  }

  /** Whether a known cause explains many wrong entries at once. */
  #isCauseKnown(): boolean {
    return this.#passes.isAsked || this.#suspects.hasDevice
  }

  async #round(signal: AbortSignal): Promise<number> {
    const startedMs = this.#now()
    const asked = this.#passes.due(startedMs)
    const passWaitMs = asked === undefined ? Number.POSITIVE_INFINITY : this.#passes.waitMs(startedMs)
    const fullPass = passWaitMs === 0 ? asked : undefined
    if (fullPass !== undefined) this.#passes.begin(startedMs)
    this.#retryAtMs = Number.POSITIVE_INFINITY

    const drift = new Set<string>()
    const devices = await this.#repairDevices(asked !== undefined, drift, signal)
    const keys = fullPass === undefined ? this.#suspects.takeEntries() : await this.#look(signal)
    const due = diff(keys, this.#actual.entries, this.#options.desired).filter(one => this.#isDue(one))
    const applied = this.#withoutLost(await this.#actual.apply(due, this.#options.kernel, signal))
    this.#record(applied, drift)
    this.#suspects.endRound(fullPass !== undefined)

    const results = [...devices, ...applied]
    const durationMs = this.#now() - startedMs
    const contested = this.attempts.contestedIn(results)
    if (fullPass !== undefined || results.length > 0)
      this.#options.onRound({ fullPass, results, drift, contested, durationMs })
    if (fullPass !== undefined) this.#passes.ended()
    const nowMs = this.#now()
    const nextPassMs =
      fullPass === undefined && asked !== undefined ? passWaitMs : this.#passes.nextInMs(nowMs)
    return Math.ceil(Math.max(0, Math.min(this.#retryAtMs - nowMs, nextPassMs)))
  }

  /** Repairs devices that are asked for or may be wrong, and marks the entries that they lost. */
  async #repairDevices(
    isAsked: boolean,
    drift: Set<string>,
    signal: AbortSignal,
  ): Promise<readonly Result[]> {
    const isDirty = this.#suspects.takeDevices()
    const isExpected = (key: string) => this.#suspects.isExpected(key)
    const waitMs = (link: Entry) => this.attempts.waitMs(link)
    const repairs = isAsked || isDirty ? await this.#devices.repair(isExpected, waitMs, signal) : noRepairs
    for (const link of repairs.held) this.#tryLater(link)
    for (const dev of repairs.emptied) this.#touchAll(dev, this.#actual.assumeEmpty(dev))
    for (const [dev, kinds] of repairs.droppedKinds)
      this.#touchAll(dev, this.#actual.assumeDropped(dev, kinds))
    // `assumeEmpty` has already marked the entries of a recreated device.
    const dropped = this.#suspects.takeDropped().filter(dev => !repairs.emptied.has(dev))
    for (const dev of dropped) this.#touchAll(dev, this.#actual.assumeDropped(dev, droppedByDown))
    this.#record(repairs.results, drift)
    if (dropped.length + repairs.emptied.size + repairs.droppedKinds.size > 0)
      this.#passes.verify(this.#now())
    return repairs.results
  }

  /** Ends the waits of all entries on a device that was just repaired. */
  #touchAll(dev: string, keys: Iterable<string>): void {
    const isExpected = this.#suspects.isExpected(`link ${dev}`)
    this.attempts.retryOn(dev, keys)
    for (const key of keys) {
      if (isExpected) this.#suspects.touch(key)
      else this.#suspects.add(key)
    }
  }

  /** Leaves out failures on devices that disappeared meanwhile: the next round repairs the device first. */
  #withoutLost(results: readonly Result[]): readonly Result[] {
    const isLost = ({ operation, error }: Result) =>
      error !== undefined && this.#suspects.has(`link ${entryDevice(operation.entry)}`)
    for (const one of results) if (isLost(one)) this.#suspects.putOff(entryKey(one.operation.entry))
    return results.filter(one => !isLost(one))
  }

  async #look(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const { kernel, scope } = this.#options
    await this.#actual.read(last => kernel.look(scope, last, signal))
    this.#passes.hasRead(this.#now())
    this.#suspects.takeEntries()
    return this.#actual.wrongKeys()
  }

  #isDue({ verb, entry }: Operation): boolean {
    if (verb !== 'delete' && this.#devices.unusable.has(entryDevice(entry) ?? '')) {
      this.#suspects.putOff(entryKey(entry))
      return false
    }
    if (this.attempts.waitMs(entry) === 0) return true
    this.#tryLater(entry)
    return false
  }

  #tryLater(entry: Entry): void {
    this.#suspects.putOff(entryKey(entry))
    this.#retryAtMs = Math.min(this.#retryAtMs, this.#now() + this.attempts.waitMs(entry))
  }

  /** Adds to `drift` the keys that had drifted. */
  #record(results: readonly Result[], drift: Set<string>): void {
    for (const { operation } of results) {
      const key = entryKey(operation.entry)
      if (!this.#suspects.isExpected(key)) drift.add(key)
    }
    // An entry that disappeared with its device was not undone by another program.
    const isUndone = (entry: Entry) =>
      !this.#devices.wasWrongLately(entryDevice(entry)) && drift.has(entryKey(entry))
    this.attempts.record(results, isUndone)
    for (const { operation, error } of results) if (error !== undefined) this.#tryLater(operation.entry)
  }
}
