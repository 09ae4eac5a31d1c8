import { afterAll, afterEach, beforeAll } from 'vitest'

/**
 * Something that all tests of a suite use one after the other. After a test that failed it is made again: what that test left half done
 * would make the next ones fail too.
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
