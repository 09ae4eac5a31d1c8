import type { EntryMap } from '../state/diff.ts'
import { needsRebuild, type Operation } from '../state/operation.ts'
import { entryDevice, entryKey, printEntry } from '../state/print.ts'

/** Which of a round's operations are for now. */
export interface Schedule {
  readonly due: readonly Operation[]
  readonly held: readonly Operation[]
  /** ms until the first of those held is due. */
  readonly waitMs: number
}

/**
 * Holds back what has to wait, and what sits on a device that has to be made first and has to wait itself. A device that
 * stands, and whose MAC, MTU or state alone is not as desired, holds up nothing: what is missing on it is put there.
 */
export function schedule(
  operations: readonly Operation[],
  actual: EntryMap,
  waitMsOf: (key: string) => number,
): Schedule {
  const late = new Map<string, Operation>()
  const due: Operation[] = []
  const held: Operation[] = []
  let waitMs = Number.POSITIVE_INFINITY
  for (const operation of operations) {
    const device = late.get(entryDevice(operation.entry) ?? '')
    if (device !== undefined && !isUsable(device) && operation.verb !== 'delete') {
      held.push(operation)
      continue
    }
    if (device !== undefined && !isMissing(operation, actual)) continue
    const ownWaitMs = waitMsOf(entryKey(operation.entry))
    if (ownWaitMs === 0) due.push(operation)
    else {
      held.push(operation)
      waitMs = Math.min(waitMs, ownWaitMs)
      if (operation.entry.kind === 'link') late.set(operation.entry.name, operation)
    }
  }
  return { due, held, waitMs }
}

/** The same for devices that turned out in this round not to be had: `failed` are what was tried. */
export function withoutDevices(
  operations: readonly Operation[],
  failed: readonly Operation[],
  actual: EntryMap,
): Schedule {
  const keys = new Set(failed.map(({ entry }) => entryKey(entry)))
  const never = schedule([...failed, ...operations], actual, key => Number(keys.has(key)))
  return { ...never, held: never.held.filter(operation => !failed.includes(operation)) }
}

/** Whether what sits on the device can be programmed before this operation on it is done. */
function isUsable(device: Operation): boolean {
  const { verb, entry } = device
  return verb === 'replace' && entry.kind === 'link' && device.was.kind === 'link'
    ? !needsRebuild(device.was, entry)
    : false
}

/** Not where it is only to be put again because its device changes. */
function isMissing({ verb, entry }: Operation, actual: EntryMap): boolean {
  const was = actual.get(entryKey(entry))
  return verb !== 'add' || was === undefined || printEntry(was) !== printEntry(entry)
}
