import { closeSync, openSync } from 'node:fs'
import { ExpectedError, messageOf } from './errors.ts'

/** A part of the program was not loaded: this host has no file descriptors for it now. */
export class LoadError extends ExpectedError {
  override name = 'LoadError'
}

/** More files than one part of the program consists of. */
const SPARE_DESCRIPTORS = 24

/**
 * A part of the program that is loaded when it is first needed. Node.js never again tries a module whose file it
 * could not open once: without descriptors nothing is loaded, and the next call tries again. The promise rejects
 * with LoadError then.
 */
export function lazily<T>(load: () => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | undefined
  return async () => {
    if (loaded === undefined) requireDescriptors()
    loaded ??= load()
    return await loaded
  }
}

function requireDescriptors(): void {
  const spare: number[] = []
  try {
    while (spare.length < SPARE_DESCRIPTORS) spare.push(openSync('/dev/null', 'r'))
  } catch (cause) {
    throw new LoadError(`Cannot load this part of the program now: ${messageOf(cause)}`, { cause })
  } finally {
    for (const descriptor of spare) closeSync(descriptor)
  }
}
