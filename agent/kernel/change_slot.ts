import type { Entry } from '../state/entry.ts'
import { entryKey } from '../state/print.ts'
import type { KernelChange } from './kernel.ts'

/** More single changes than this are dearer than one look at all. */
const MANY = 20_000

/** Folds what the kernel says until somebody takes it: the latest state of each key, never a queue. */
export class ChangeSlot {
  #entries = new Map<string, Entry | undefined>()
  #everything: string | undefined
  #underlay = false
  #error: Error | undefined
  #wake: (() => void) | undefined

  present(entry: Entry): void {
    this.#set(entryKey(entry), entry)
  }

  gone(entry: Entry): void {
    this.#set(entryKey(entry), undefined)
  }

  /** The first reason stands: the others mostly follow from it. */
  everything(reason: string): void {
    this.#everything ??= reason
    this.#entries.clear()
    this.#wake?.()
  }

  underlay(): void {
    this.#underlay = true
    this.#wake?.()
  }

  fail(error: Error): void {
    this.#error ??= error
    this.#wake?.()
  }

  /** Waits until there is a change; what one turn of the event loop brings comes together. Rejects with what fail() was told, or the signal's reason. */
  async take(signal: AbortSignal): Promise<KernelChange> {
    signal.throwIfAborted()
    if (!this.#filled) {
      await this.#filling(signal)
      await new Promise(resolve => setImmediate(resolve))
    }
    signal.throwIfAborted()
    if (this.#error !== undefined) throw this.#error
    const entries = Array.from(this.#entries, ([key, entry]) => ({ key, entry }))
    const change = { entries, everything: this.#everything, underlay: this.#underlay }
    this.#entries = new Map()
    this.#everything = undefined
    this.#underlay = false
    return change
  }

  get #filled(): boolean {
    return (
      this.#entries.size > 0 || this.#everything !== undefined || this.#underlay || this.#error !== undefined
    )
  }

  #filling(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        signal.removeEventListener('abort', done)
        this.#wake = undefined
        resolve()
      }
      this.#wake = done
      signal.addEventListener('abort', done)
    })
  }

  #set(key: string, entry: Entry | undefined): void {
    if (this.#everything !== undefined) return
    this.#entries.set(key, entry)
    if (this.#entries.size > MANY) this.everything(`more than ${MANY} entries changed at once`)
    else this.#wake?.()
  }
}
