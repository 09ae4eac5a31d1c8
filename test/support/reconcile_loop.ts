import { vi } from 'vitest'
import type { Scope } from '../../agent/kernel/kernel.ts'
import { Reconciler } from '../../agent/reconcile/reconciler.ts'
import type { Round } from '../../agent/reconcile/round.ts'
import type { Entry } from '../../agent/state/entry.ts'
import { printOperation } from '../../agent/state/operation.ts'
import { entryKey, printEntry } from '../../agent/state/print.ts'
import { entries } from './entries.ts'
import { FakeKernel } from './fake_kernel.ts'

export const scope: Scope = { devices: ['flannel.1', 'flannel-v6.1'], routeProtocol: 117 }

/** Stops time; only `settle` lets it pass. Turns of the event loop continue. */
export function stopTheClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
}

/** A reconciler at work on a fake kernel: `stopTheClock()` first, `stop()` at the end. */
export class ReconcileLoop {
  readonly kernel = new FakeKernel()
  readonly desired = new Map<string, Entry>()
  readonly rounds: Round[] = []
  readonly reconciler: Reconciler
  readonly #stop = new AbortController()
  #ended: Promise<unknown> = Promise.resolve()

  constructor({ resyncMs = 3_600_000 }: { resyncMs?: number } = {}) {
    const { kernel, desired } = this
    this.reconciler = new Reconciler({
      kernel,
      scope,
      desired,
      resyncMs,
      onRound: round => this.rounds.push(round),
    })
  }

  /** Adds these entries, one a line, to the desired ones. */
  want(text: string): void {
    const wanted = entries(text)
    for (const entry of wanted) this.desired.set(entryKey(entry), entry)
    this.reconciler.touch(wanted.map(entryKey))
  }

  unwant(...keys: string[]): void {
    for (const key of keys) this.desired.delete(key)
    this.reconciler.touch(keys)
  }

  /** Runs the loop until it waits for time to pass. */
  async start(): Promise<void> {
    const { signal } = this.#stop
    const observe = async () => {
      for await (const change of this.kernel.changes(scope, signal)) this.reconciler.observe(change)
    }
    this.#ended = Promise.allSettled([observe(), this.reconciler.run(signal)])
    await this.settle()
  }

  async settle(ms = 0): Promise<void> {
    // Rounds and notifications take turns, and each may wake the other.
    for (let i = 0; i < 20; i++) {
      await vi.advanceTimersByTimeAsync(i === 0 ? ms : 0)
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the test is over'))
    await this.settle()
    await this.#ended
  }

  /** The operations that the kernel was asked for since the last call, in order. */
  asked(): string[] {
    return this.kernel.log.splice(0)
  }

  /** The drift that rounds reported since the last call. */
  drift(): string[] {
    return this.rounds
      .splice(0)
      .flatMap(({ results, drift }) =>
        results
          .filter(({ operation }) => drift.has(entryKey(operation.entry)))
          .map(({ operation }) => printOperation(operation)),
      )
  }

  wanted(): string[] {
    return [...this.desired.values()].map(printEntry).sort()
  }
}
