import type { Kernel, KernelChange, Scope } from '../kernel/kernel.ts'
import { diff } from '../state/diff.ts'
import type { Entry } from '../state/entry.ts'
import type { Operation, Result } from '../state/operation.ts'
import { entryDevice, entryKey, printEntry } from '../state/print.ts'
import { Attempts } from './attempts.ts'
import { PassBudget } from './pass_budget.ts'
import { WakeUp } from './wake_up.ts'

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
  /** As far as known: the last snapshot, what was applied and what the kernel said since. Links come first. */
  #actual = new Map<string, Entry>()
  #dirty = new Set<string>()
  /** What changed in `desired`, and so is no drift. */
  #wanted = new Set<string>()
  /** What the kernel said while a snapshot or an apply was on its way: newer than that one's answer. */
  #observed = new Map<string, Entry | undefined>()
  #fullPass: string | undefined = 'start'
  readonly #budget = new PassBudget()
  #lastFullPassMs = 0

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
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
      this.#observed.set(key, entry)
      this.#believe(key, entry)
    }
    if (change.everything !== undefined) this.#fullPass = change.everything
    if (this.#dirty.size > 0 || this.#fullPass !== undefined) this.#wakeUp.set()
  }

  /** Looks at all of the kernel in the next round. */
  requestFullPass(reason: string): void {
    this.#fullPass = reason
    this.#wakeUp.set()
  }

  /** Until the signal aborts; rejects with its reason, or with the first error of the kernel's socket itself. */
  async run(signal: AbortSignal): Promise<never> {
    for (;;) {
      signal.throwIfAborted()
      const waitMs = await this.#round(signal)
      await this.#wakeUp.wait(waitMs, signal)
    }
  }

  /** Returns ms until the next one is due by itself. */
  async #round(signal: AbortSignal): Promise<number> {
    const { kernel, desired, onRound } = this.#options
    const startedMs = this.#now()
    const asked = this.#fullPass ?? (this.#resyncInMs(startedMs) <= 0 ? 'resync' : undefined)
    const passWaitMs = asked === undefined ? Number.POSITIVE_INFINITY : this.#budget.waitMs(startedMs)
    const fullPass = passWaitMs === 0 ? asked : undefined
    if (fullPass !== undefined) await this.#look(signal)

    const keys = fullPass === undefined ? this.#dirty : new Set([...this.#actual.keys(), ...desired.keys()])
    const wanted = this.#wanted
    this.#dirty = new Set()
    this.#wanted = new Set()
    const { due, waitMs } = this.#dueNow(diff(keys, this.#actual, desired), startedMs)

    this.#observed.clear()
    const results = due.length > 0 ? await kernel.apply(due, signal) : []
    const drift = this.#record(results, wanted, fullPass)
    const durationMs = this.#now() - startedMs
    if (fullPass !== undefined || results.length > 0) onRound({ fullPass, results, drift, durationMs })
    const nextPassMs = fullPass === undefined ? passWaitMs : Number.POSITIVE_INFINITY
    return Math.min(waitMs, nextPassMs, Math.max(0, this.#resyncInMs(this.#now())))
  }

  async #look(signal: AbortSignal): Promise<void> {
    this.#fullPass = undefined
    this.#budget.spend(this.#now())
    this.#observed.clear()
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
    this.#lastFullPassMs = this.#now()
    this.attempts.prune(this.#lastFullPassMs)
  }

  #believe(key: string, entry: Entry | undefined): void {
    const want = this.#options.desired.get(key)
    if (entry === undefined) this.#actual.delete(key)
    else this.#actual.set(key, sharedIfEqual(entry, want))
    if (this.#actual.get(key) !== want) this.#dirty.add(key)
  }

  /** Holds back what has to wait. What sits on a device that is changed goes or waits with it. */
  #dueNow(operations: readonly Operation[], nowMs: number): { due: Operation[]; waitMs: number } {
    const due: Operation[] = []
    const deviceWaitMs = new Map<string, number>()
    let waitMs = Number.POSITIVE_INFINITY
    for (const operation of operations) {
      const { entry } = operation
      const key = entryKey(entry)
      const ownWaitMs = this.attempts.waitMs(key, nowMs)
      if (entry.kind === 'link') deviceWaitMs.set(entry.name, ownWaitMs)
      const heldMs = deviceWaitMs.get(entryDevice(entry) ?? '') ?? ownWaitMs
      if (heldMs === 0) due.push(operation)
      else {
        this.#dirty.add(key)
        waitMs = Math.min(waitMs, heldMs)
      }
    }
    return { due, waitMs }
  }

  /** Takes over what was applied, unless the kernel has said something newer. Returns the keys that had drifted. */
  #record(
    results: readonly Result[],
    wanted: ReadonlySet<string>,
    fullPass: string | undefined,
  ): Set<string> {
    const drift = new Set<string>()
    const nowMs = this.#now()
    const devices = new Set(
      results.map(({ operation: { entry } }) => (entry.kind === 'link' ? entry.name : '')),
    )
    for (const { operation, error } of results) {
      const key = entryKey(operation.entry)
      const isDrift = fullPass !== 'start' && !wanted.has(key)
      if (isDrift) drift.add(key)
      if (error !== undefined) {
        this.attempts.failed(key, error, nowMs)
        this.#dirty.add(key)
      } else {
        // What went with its device was not undone by itself.
        if (isDrift && !devices.has(entryDevice(operation.entry) ?? '')) this.attempts.repaired(key, nowMs)
        else this.attempts.forget(key)
        if (!this.#observed.has(key))
          this.#believe(key, operation.verb === 'delete' ? undefined : operation.entry)
      }
    }
    return drift
  }

  #resyncInMs(nowMs: number): number {
    return this.#lastFullPassMs + this.#options.resyncMs - nowMs
  }
}

/** One object for what is and what shall be, where they are equal: half the memory, and `===` says that all is well. */
function sharedIfEqual(entry: Entry, want: Entry | undefined): Entry {
  return want !== undefined && printEntry(want) === printEntry(entry) ? want : entry
}
