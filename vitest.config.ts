import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Threads share one network namespace and the netlink addon cannot live in a worker thread: one process a file.
    pool: 'forks',
    // More than CPUs: most tests wait for something most of the time.
    maxWorkers: 3,
    // What a release of Node.js deprecates, a later one removes.
    execArgv: ['--throw-deprecation'],
    // No agent of a test writes this machine's last-seen file: each has one of its own, or none.
    env: { FLANNELD_CACHE_FILE: 'none' },
    setupFiles: process.env.CI || process.env.TWILL_SEED ? ['test/support/seed.ts'] : [],
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
})
