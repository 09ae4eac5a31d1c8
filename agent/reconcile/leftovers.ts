import type { Kernel, Scope } from '../kernel/kernel.ts'
import { type Operation, printOperation, type Result } from '../state/operation.ts'
import { entryDevice } from '../state/print.ts'

/** Removes our devices with every entry on them, and our routes elsewhere. Applying it twice is no error. */
export async function leftovers(kernel: Kernel, scope: Scope, signal: AbortSignal): Promise<Operation[]> {
  const entries = await kernel.snapshot(scope, signal)
  const removals = entries
    .filter(entry => !scope.devices.includes(entryDevice(entry) ?? ''))
    .map((entry): Operation => ({ verb: 'delete', entry }))
  // Routes first: deleting a device also deletes the routes over it.
  return removals.sort((a, b) => Number(a.entry.kind === 'link') - Number(b.entry.kind === 'link'))
}

/** One line: the operation, or the kernel's message where it refused. */
export function printResult({ operation, error }: Result): string {
  return error?.message ?? printOperation(operation)
}
