import fc from 'fast-check'

/**
 * Loaded in CI and where TWILL_SEED is set (vitest.config.ts): property tests then draw the same cases in
 * each run. Other runs draw new cases.
 */
fc.configureGlobal({ seed: Number(process.env.TWILL_SEED ?? 1) })
