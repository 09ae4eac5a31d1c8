import { afterAll, afterEach, beforeAll } from 'vitest'

/**
 * A fixture that all tests of a suite use one after the other. It is made again after a failed test, whose
 * half-done work would make the next tests fail too.
 */
export function sharedByTests(make: () => Promise<{ dispose(): Promise<void> }>): void {
  let shared: { dispose(): Promise<void> } | undefined
  const take = async () => {
    await shared?.dispose()
    shared = undefined
  }
  beforeAll(async () => {
    shared = await make()
  })
  afterEach(async ({ task }) => {
    if (task.result?.state !== 'fail') return
    await take()
    shared = await make()
  })
  afterAll(take)
}
