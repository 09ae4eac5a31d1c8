import { WakeUp } from '../../../lease/common/wake_up.ts'
import type { Entry } from '../../state/entry.ts'
import { entryKey } from '../../state/print.ts'
import type { KernelChange } from '../kernel.ts'

/** More single changes than this are dearer than one look at all. */
const MANY = 20_000
/** So many reasons are named: a device that is deleted is set down, loses its addresses and is gone. */
const NAMED_REASONS = 4

/** Folds what the kernel says until a reader takes it: the latest state of each key, never a queue. */
export class ChangeSlot {
  #entries = new Map<string, Entry | undefined>()
  readonly #reasons = new Reasons()
  #devices = new Map<string, { readonly reasons: Reasons; hasDropped: boolean }>()
  #underlay = false
  #error: Error | undefined
  readonly #wakeUp = new WakeUp()
  #isUrgent = false
  #endWait = () => {}

  /** False where what is told last counts alone: then the change of a device waits for the rest of its turn. */
  mayHurry = true

  present(entry: Entry): void {
    this.#set(entryKey(entry), entry)
  }

  gone(entry: Entry): void {
    this.#set(entryKey(entry), undefined)
  }

  everything(reason: string): void {
    this.#reasons.add(reason)
    this.#entries.clear()
    this.#wakeUp.set()
  }

  /** `what` it did: `was set down`. `hasDropped`: entries on it may be gone without a word. */
  device(name: string, what: string, hasDropped: boolean): void {
    const device = this.#devices.get(name) ?? { reasons: new Reasons(), hasDropped: false }
    device.reasons.add(`device ${name} ${what}`)
    device.hasDropped ||= hasDropped
    this.#devices.set(name, device)
    this.#wakeUp.set()
    this.#hurry()
  }

  underlay(): void {
    this.#underlay = true
    this.#wakeUp.set()
  }

  fail(error: Error): void {
    this.#error ??= error
    this.#wakeUp.set()
  }

  /**
   * Waits until there is a change. What one turn of the event loop brings comes together, but the change of a
   * device at once: it explains what the kernel says next, which may be of thousands of entries. Rejects with
   * what fail() was told, or the signal's reason.
   */
  async take(signal: AbortSignal): Promise<KernelChange> {
    signal.throwIfAborted()
    if (!this.isFilled) {
      while (!this.isFilled) await this.#wakeUp.wait(Number.POSITIVE_INFINITY, signal)
      await this.#turn()
    }
    signal.throwIfAborted()
    if (this.#error !== undefined) throw this.#error
    const entries = Array.from(this.#entries, ([key, entry]) => ({ key, entry }))
    const devices = Array.from(this.#devices, ([name, { reasons, hasDropped }]) => ({
      name,
      reason: reasons.take() ?? '',
      hasDropped,
    }))
    const change = { entries, devices, everything: this.#reasons.take(), underlay: this.#underlay }
    this.#entries = new Map()
    this.#devices = new Map()
    this.#underlay = false
    this.#isUrgent = false
    return change
  }

  /** Whether there is something to take. */
  get isFilled(): boolean {
    const size = this.#entries.size + this.#devices.size + this.#reasons.size
    return size > 0 || this.#underlay || this.#error !== undefined
  }

  async #turn(): Promise<void> {
    if (this.#isUrgent) return
    await new Promise<void>(resolve => {
      this.#endWait = resolve
      setImmediate(resolve)
    })
  }

  #hurry(): void {
    if (!this.mayHurry) return
    this.#isUrgent = true
    this.#endWait()
  }

  #set(key: string, entry: Entry | undefined): void {
    if (this.#reasons.size > 0) return
    this.#entries.set(key, entry)
    if (this.#entries.size > MANY) this.everything(`more than ${MANY} entries changed at once`)
    else this.#wakeUp.set()
  }
}

/** Why to look: the first reasons are kept, and the latest. */
class Reasons {
  #reasons: string[] = []

  get size(): number {
    return this.#reasons.length
  }

  add(reason: string): void {
    if (this.#reasons.includes(reason)) return
    if (this.#reasons.length === NAMED_REASONS) this.#reasons.pop()
    this.#reasons.push(reason)
  }

  take(): string | undefined {
    const all = this.#reasons.join('; ')
    this.#reasons = []
    return all === '' ? undefined : all
  }
}
