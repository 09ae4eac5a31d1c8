import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Entry } from '../state/entry.ts'
import { entryKey } from '../state/print.ts'
import type { KernelChange } from './kernel.ts'

/** More single changes than this are dearer than one look at all. */
const MANY = 20_000
/** So many reasons are named: a device that is deleted is set down, loses its addresses and is gone. */
const REASONS = 4

/** Folds what the kernel says until somebody takes it: the latest state of each key, never a queue. */
export class ChangeSlot {
  #entries = new Map<string, Entry | undefined>()
  #reasons: string[] = []
  #underlay = false
  #error: Error | undefined
  readonly #wakeUp = new WakeUp()

  present(entry: Entry): void {
    this.#set(entryKey(entry), entry)
  }

  gone(entry: Entry): void {
    this.#set(entryKey(entry), undefined)
  }

  /** The first reasons are kept, and the latest. */
  everything(reason: string): void {
    if (!this.#reasons.includes(reason)) {
      if (this.#reasons.length === REASONS) this.#reasons.pop()
      this.#reasons.push(reason)
    }
    this.#entries.clear()
    this.#wakeUp.set()
  }

  underlay(): void {
    this.#underlay = true
    this.#wakeUp.set()
  }

  fail(error: Error): void {
    this.#error ??= error
    this.#wakeUp.set()
  }

  /** Waits until there is a change; what one turn of the event loop brings comes together. Rejects with what fail() was told, or the signal's reason. */
  async take(signal: AbortSignal): Promise<KernelChange> {
    signal.throwIfAborted()
    if (!this.#filled) {
      while (!this.#filled) await this.#wakeUp.wait(Number.POSITIVE_INFINITY, signal)
      await new Promise(resolve => setImmediate(resolve))
    }
    signal.throwIfAborted()
    if (this.#error !== undefined) throw this.#error
    const entries = Array.from(this.#entries, ([key, entry]) => ({ key, entry }))
    const change = { entries, everything: this.#everything, underlay: this.#underlay }
    this.#entries = new Map()
    this.#reasons = []
    this.#underlay = false
    return change
  }

  get #everything(): string | undefined {
    return this.#reasons.length > 0 ? this.#reasons.join('; ') : undefined
  }

  get #filled(): boolean {
    const { size } = this.#entries
    return size > 0 || this.#reasons.length > 0 || this.#underlay || this.#error !== undefined
  }

  #set(key: string, entry: Entry | undefined): void {
    if (this.#reasons.length > 0) return
    this.#entries.set(key, entry)
    if (this.#entries.size > MANY) this.everything(`more than ${MANY} entries changed at once`)
    else this.#wakeUp.set()
  }
}
