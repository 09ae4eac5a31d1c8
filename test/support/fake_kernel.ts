import type { Kernel, KernelChange, Look, Scope } from '../../agent/kernel/kernel.ts'
import { ChangeSlot } from '../../agent/kernel/notifications/change_slot.ts'
import type { Entry, Link } from '../../agent/state/entry.ts'
import { needsRebuild, type Operation, printOperation, type Result } from '../../agent/state/operation.ts'
import { mayReplace } from '../../agent/state/ownership.ts'
import { entryDevice, entryKey, printEntry } from '../../agent/state/print.ts'

/** Called before a snapshot or an apply; a test may wait in it, or throw. */
export type Hook = (act: 'snapshot' | 'apply') => Promise<void> | void

/** A kernel that is a map. It knows only our devices, and removes the entries of a device with it. */
export class FakeKernel implements Kernel {
  /** By `entryKey`. */
  readonly entries = new Map<string, Entry>()
  /** All requested operations, printed; refused ones too. */
  readonly log: string[] = []
  snapshots = 0
  hook: Hook = () => {}
  readonly #refused = new Map<string, Error>()
  readonly #listeners = new Map<ChangeSlot, Scope>()
  readonly #otherDevices: ReadonlySet<string>

  /** `otherDevices`: existing devices that are not ours. */
  constructor(otherDevices: readonly string[] = ['eth0']) {
    this.#otherDevices = new Set(otherDevices)
  }

  /** From now on operations on this key fail, until `accept`. */
  refuse(
    key: string,
    error: Error = new Error(`Cannot change ${key}: Operation not permitted (EPERM)`),
  ): void {
    this.#refused.set(key, error)
  }

  accept(key: string): void {
    this.#refused.delete(key)
  }

  /** Another program adds or changes an entry; without its device it cannot, and nothing happens. */
  put(entry: Entry): void {
    if (!this.#isMissing(entryDevice(entry))) this.#set(entry)
  }

  /** Another program removes an entry. */
  remove(key: string): void {
    const entry = this.entries.get(key)
    if (entry !== undefined) this.#delete(entry)
  }

  /** Reports that the receive queue overflowed. */
  overflow(): void {
    for (const slot of this.#listeners.keys()) slot.everything('the notification socket overflowed')
  }

  /** All entries, printed and sorted. */
  print(): string[] {
    return [...this.entries.values()].map(printEntry).sort()
  }

  async snapshot(scope: Scope, signal: AbortSignal): Promise<readonly Entry[]> {
    signal.throwIfAborted()
    await this.hook('snapshot')
    signal.throwIfAborted()
    this.snapshots++
    return [...this.entries.values()].filter(entry => isOurs(entry, scope))
  }

  async look(scope: Scope, last: string | undefined, signal: AbortSignal): Promise<Look> {
    const entries = await this.snapshot(scope, signal)
    const fingerprint = entries.map(printEntry).join('\n')
    return { fingerprint, entries: fingerprint === last ? undefined : entries }
  }

  async devices(scope: Scope, signal: AbortSignal): Promise<readonly Link[]> {
    signal.throwIfAborted()
    return [...this.entries.values()].filter(entry => entry.kind === 'link' && isOurs(entry, scope)) as Link[]
  }

  async apply(operations: readonly Operation[], signal: AbortSignal): Promise<readonly Result[]> {
    signal.throwIfAborted()
    await this.hook('apply')
    signal.throwIfAborted()
    return operations.map(operation => ({ operation, error: this.#apply(operation) }))
  }

  /** Listens from the call on. */
  changes(scope: Scope, signal: AbortSignal): AsyncIterable<KernelChange> {
    const slot = new ChangeSlot()
    this.#listeners.set(slot, scope)
    return this.#take(slot, signal)
  }

  /**
   * Waits until the reader has all changes: one that it takes in this turn of the event loop is with it in the
   * next. Changes that are not taken within some turns have no reader.
   */
  async caughtUp(signal: AbortSignal): Promise<void> {
    const isBehind = () => [...this.#listeners.keys()].some(slot => slot.isFilled)
    for (let i = 0; i === 0 || (i < 5 && isBehind()); i++) await new Promise(resolve => setImmediate(resolve))
    signal.throwIfAborted()
  }

  async *#take(slot: ChangeSlot, signal: AbortSignal): AsyncGenerator<KernelChange, never> {
    try {
      for (;;) yield await slot.take(signal)
    } finally {
      this.#listeners.delete(slot)
    }
  }

  #apply(operation: Operation): Error | undefined {
    this.log.push(printOperation(operation))
    const { verb, entry } = operation
    const key = entryKey(entry)
    const refusal = this.#refused.get(key)
    if (refusal !== undefined) return refusal
    if (verb === 'delete') {
      this.remove(key)
      return undefined
    }
    const dev = entryDevice(entry)
    if (this.#isMissing(dev))
      return new Error(`Cannot ${printOperation(operation)}: device ${dev} does not exist (ENODEV)`)
    const held = verb === 'add' ? this.#heldBy(entry) : undefined
    if (held !== undefined)
      return new Error(`Cannot ${printOperation(operation)}: '${held}' stands there (EEXIST)`)
    this.#set(entry)
    return undefined
  }

  /** The route of another program with the same key as this entry. */
  #heldBy(entry: Entry): string | undefined {
    const holder = this.entries.get(entryKey(entry))
    if (entry.kind !== 'route' || holder?.kind !== 'route') return undefined
    const via = holder.type === 'unicast' ? holder.via : undefined
    const isOnSameDevice = entryDevice(holder) === entryDevice(entry) && entryDevice(entry) !== undefined
    const { protocol } = holder
    return mayReplace({ protocol, via, isOnSameDevice }, entry) ? undefined : printEntry(holder)
  }

  #isMissing(dev: string | undefined): boolean {
    return dev !== undefined && !this.entries.has(`link ${dev}`) && !this.#otherDevices.has(dev)
  }

  #set(entry: Entry): void {
    const key = entryKey(entry)
    const was = this.entries.get(key)
    // A device that cannot be changed in place is deleted and recreated, and its entries are gone.
    if (was?.kind === 'link' && entry.kind === 'link' && needsRebuild(was, entry)) this.#delete(was)
    this.entries.set(key, entry)
    if (was === undefined || printEntry(was) !== printEntry(entry)) this.#announce(entry, 'changed')
  }

  #delete(entry: Entry): void {
    this.entries.delete(entryKey(entry))
    if (entry.kind === 'link')
      for (const [key, other] of [...this.entries])
        if (entryDevice(other) === entry.name) this.entries.delete(key)
    this.#announce(entry, 'gone')
  }

  #announce(entry: Entry, what: 'changed' | 'gone'): void {
    for (const [slot, scope] of this.#listeners) {
      if (!isOurs(entry, scope)) continue
      if (entry.kind === 'link')
        slot.device(entry.name, what === 'gone' ? 'was deleted' : what, what === 'gone')
      else if (what === 'gone') slot.gone(entry)
      else slot.present(entry)
    }
  }
}

function isOurs(entry: Entry, scope: Scope): boolean {
  if (entry.kind === 'link') return scope.devices.includes(entry.name)
  if (scope.devices.includes(entryDevice(entry) ?? '')) return true
  return entry.kind === 'route' && entry.protocol === scope.routeProtocol
}
