import { WakeUp } from '../../../lease/common/wake_up.ts'
import type { Entry } from '../../state/entry.ts'
import { entryKey } from '../../state/print.ts'
import type { KernelChange } from '../kernel.ts'

/** With more changed entries than this, a full pass is cheaper than single changes. */
const MAX_ENTRIES = 20_000
/** Most reasons kept. Deleting a device has three: it is set down, loses its addresses and is gone. */
const MAX_REASONS = 4

/** Merges notifications until a reader takes them: the latest state of each key, never a queue. */
export class ChangeSlot {
  #entries = new Map<string, Entry | undefined>()
  readonly #reasons = new Reasons()
  #devices = new Map<string, { readonly reasons: Reasons; hasDropped: boolean }>()
  #underlay = false
  #error: Error | undefined
  readonly #wakeUp = new WakeUp()
  #isUrgent = false
  #endWait = () => {}

  /** While false, a device's change does not cut short take(): the caller needs only the latest state. */
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

  /** `what` happened: `was set down`. `hasDropped`: the kernel may have dropped its entries silently. */
  device(name: string, what: string, hasDropped: boolean): void {
    const device = this.#devices.get(name) ?? { reasons: new Reasons(), hasDropped: false }
    device.reasons.add(`device ${name} ${what}`)
    device.hasDropped ||= hasDropped
    this.#devices.set(name, device)
    this.#wakeUp.set()
    if (!this.mayHurry) return
    this.#isUrgent = true
    this.#endWait()
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
   * Waits for a change. Returns all changes of one turn of the event loop, but that of a device at once: it
   * explains thousands of notifications that follow. Rejects with fail()'s error, or the signal's reason.
   */
  async take(signal: AbortSignal): Promise<KernelChange> {
    signal.throwIfAborted()
    if (!this.isFilled) {
      while (!this.isFilled) await this.#wakeUp.wait(Number.POSITIVE_INFINITY, signal)
      if (!this.#isUrgent)
        await new Promise<void>(resolve => {
          this.#endWait = resolve
          setImmediate(resolve)
        })
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

  get isFilled(): boolean {
    const size = this.#entries.size + this.#devices.size + this.#reasons.size
    return size > 0 || this.#underlay || this.#error !== undefined
  }

  #set(key: string, entry: Entry | undefined): void {
    if (this.#reasons.size > 0) return
    this.#entries.set(key, entry)
    if (this.#entries.size > MAX_ENTRIES) this.everything(`more than ${MAX_ENTRIES} entries changed at once`)
    else this.#wakeUp.set()
  }
}

/** Keeps the first reasons and the latest. */
class Reasons {
  #reasons: string[] = []

  get size(): number {
    return this.#reasons.length
  }

  add(reason: string): void {
    if (this.#reasons.includes(reason)) return
    if (this.#reasons.length === MAX_REASONS) this.#reasons.pop()
    this.#reasons.push(reason)
  }

  take(): string | undefined {
    const all = this.#reasons.join('; ')
    this.#reasons = []
    return all === '' ? undefined : all
  }
}
