import fc from 'fast-check'

/** Properties draw the same cases in each run that judges a commit (`.ci/run`), others in each run by hand, unless TWILL_SEED is set. */
fc.configureGlobal({ seed: Number(process.env.TWILL_SEED ?? 1) })
