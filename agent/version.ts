declare const TWILL_VERSION: string | undefined

/** This build's version; the bundler puts it in, and a run from source has none. */
export const version = typeof TWILL_VERSION === 'undefined' ? 'from source' : TWILL_VERSION
