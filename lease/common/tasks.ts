/**
 * Runs tasks side by side until the signal aborts or one ends or fails; then aborts the others, and settles
 * when all have ended. Rejects with the first failure that this abort did not cause.
 */
export async function runTogether(
  signal: AbortSignal,
  tasks: readonly ((signal: AbortSignal) => Promise<unknown>)[],
): Promise<void> {
  const stop = new AbortController()
  const all = AbortSignal.any([signal, stop.signal])
  const failures: unknown[] = []
  await Promise.all(
    tasks.map(async task => {
      try {
        await task(all)
      } catch (error) {
        if (!all.aborted || !isAbort(error, all)) failures.push(error)
      } finally {
        stop.abort(new Error('another task has ended'))
      }
    }),
  )
  if (failures.length > 0) throw failures[0]
}

/** The abort's own reason, or the AbortError that Node.js functions make of it. */
function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError')
}
