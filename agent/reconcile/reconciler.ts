import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Kernel, KernelChange, Scope } from '../kernel/kernel.ts'
import { diff } from '../state/diff.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import { entryDevice, entryKey } from '../state/print.ts'
import { ActualState } from './actual_state.ts'
import { Attempts } from './attempts.ts'
import { Devices } from './devices.ts'
import { PassBudget } from './pass_budget.ts'
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
 * may be wrong; a round makes these right, a full pass all of them. Devices come first, then what sits on them. Started once
 * the first complete lease table is there, so that nothing is pruned for want of knowledge.
 */
export class Reconciler {
  readonly attempts = new Attempts()
  readonly #options: ReconcilerOptions
  readonly #now: () => number
  readonly #wakeUp = new WakeUp()
  readonly #devices: Devices
  readonly #actual: ActualState
  #dirty = new Set<string>()
  /** Dirty because `desired` changed: that these are wrong is no drift. */
  #wanted = new Set<string>()
  readonly #storm: Storm
  #fullPass: string | undefined = 'start'
  #hasStarted = false
  readonly #budget = new PassBudget()
  #lastFullPassMs = 0
  /** When the first of those that have to wait is due. */
  #retryAtMs = Number.POSITIVE_INFINITY

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#storm = new Storm(this.#now)
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
      if (this.#actual.isRight(key)) continue
      this.#dirty.add(key)
      this.#storm.gust()
    }
    if (change.everything !== undefined) {
      this.#actual.forgetEchoes()
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
    const startedMs = this.#now()
    const asked = this.#fullPass ?? (this.#resyncInMs(startedMs) <= 0 ? 'resync' : undefined)
    const passWaitMs = asked === undefined ? Number.POSITIVE_INFINITY : this.#budget.waitMs(startedMs)
    const fullPass = passWaitMs === 0 ? asked : undefined
    this.#retryAtMs = Number.POSITIVE_INFINITY

    const drift = new Set<string>()
    const devices = await this.#mendDevices(asked !== undefined, drift, signal)
    const keys = fullPass === undefined ? this.#takeDirtyKeys() : await this.#look(signal)
    const due = diff(keys, this.#actual.entries, this.#options.desired).filter(one => this.#isDue(one))
    const applied = await this.#actual.apply(due, some => this.#options.kernel.apply(some, signal))
    this.#record(applied, drift)
    for (const key of this.#wanted) if (!this.#dirty.has(key)) this.#wanted.delete(key)
    if (fullPass !== undefined) this.#hasStarted = true

    const results = [...devices, ...applied]
    const durationMs = this.#now() - startedMs
    if (fullPass !== undefined || results.length > 0)
      this.#options.onRound({ fullPass, results, drift, durationMs })
    const nowMs = this.#now()
    const nextPassMs = fullPass === undefined && asked !== undefined ? passWaitMs : this.#resyncInMs(nowMs)
    return Math.ceil(Math.max(0, Math.min(this.#retryAtMs - nowMs, nextPassMs)))
  }

  /** Where a full pass is asked for, or a device may be wrong. What sits on a device that changed is put there again. */
  async #mendDevices(isAsked: boolean, drift: Set<string>, signal: AbortSignal): Promise<readonly Result[]> {
    const dirty = [...this.#dirty].filter(key => this.#devices.isKey(key))
    if (!isAsked && dirty.length === 0) return []
    for (const key of dirty) this.#dirty.delete(key)
    const views = {
      isWanted: (key: string) => this.#isWanted(key),
      waitMs: (key: string) => this.attempts.waitMs(key, this.#now()),
    }
    const mended = await this.#devices.mend(views, signal)
    for (const key of mended.held) this.#tryLater(key)
    for (const dev of mended.emptied) this.#touchAll(dev, this.#actual.empty(dev))
    for (const dev of mended.disturbed) this.#touchAll(dev, this.#actual.disturb(dev))
    this.#record(mended.results, drift)
    return mended.results
  }

  /** All entries on a device that was just mended: none of them has to wait any longer. */
  #touchAll(dev: string, keys: readonly string[]): void {
    const isWanted = this.#isWanted(`link ${dev}`)
    for (const key of keys) {
      this.#dirty.add(key)
      if (isWanted) this.#wanted.add(key)
      this.attempts.release(key, this.#now())
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
    this.attempts.prune(this.#lastFullPassMs)
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
    if (this.attempts.waitMs(key, this.#now()) === 0) return true
    this.#tryLater(key)
    return false
  }

  /** Looked at again in the next round; what was no drift until now is none then. */
  #putOff(key: string): void {
    this.#dirty.add(key)
    if (this.#isWanted(key)) this.#wanted.add(key)
  }

  #tryLater(key: string): void {
    this.#putOff(key)
    const nowMs = this.#now()
    this.#retryAtMs = Math.min(this.#retryAtMs, nowMs + this.attempts.waitMs(key, nowMs))
  }

  /** Remembers what had to be done again, and adds to `drift` the keys that had drifted. */
  #record(results: readonly Result[], drift: Set<string>): void {
    const nowMs = this.#now()
    for (const { operation, error } of results) {
      const { entry } = operation
      const key = entryKey(entry)
      if (!this.#isWanted(key)) drift.add(key)
      if (error !== undefined) {
        this.attempts.failed(key, error, nowMs, entry.kind === 'link' ? DEVICE_LONGEST_MS : undefined)
        this.#tryLater(key)
      } else if (drift.has(key) && !this.#devices.isRestless(entryDevice(entry))) {
        this.attempts.repaired(key, nowMs)
      } else {
        // What goes with its device is not undone by itself.
        this.attempts.forget(key)
      }
    }
  }

  #isWanted(key: string): boolean {
    return !this.#hasStarted || this.#wanted.has(key)
  }

  /** The first pass stays the first one, whatever else asks for it. */
  #askFullPass(reason: string): void {
    if (this.#fullPass !== 'start') this.#fullPass = reason
  }

  #resyncInMs(nowMs: number): number {
    return this.#lastFullPassMs + this.#options.resyncMs - nowMs
  }
}
