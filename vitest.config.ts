import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Threads share one network namespace and the netlink addon cannot live in a worker thread: one process a file.
    pool: 'forks',
    maxWorkers: 2,
    // What a release of Node.js deprecates, a later one removes.
    execArgv: ['--throw-deprecation'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
