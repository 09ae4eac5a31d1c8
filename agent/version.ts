declare const TWILL_VERSION: string | undefined

/** This build's version, set by the bundler; `from source` where the agent runs unbundled. */
export const version = typeof TWILL_VERSION === 'undefined' ? 'from source' : TWILL_VERSION
