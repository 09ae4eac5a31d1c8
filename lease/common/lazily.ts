import { closeSync, openSync } from 'node:fs'
import { ExpectedError, messageOf } from './errors.ts'

/** A part of the program could not be loaded: this host has no file descriptors left for it now. */
export class LoadError extends ExpectedError {
  override name = 'LoadError'
}

/** More than the number of files in one part of the program. */
const SPARE_DESCRIPTORS = 24

/**
 * Loads a part of the program at first use. Node.js never tries a module again whose file it could not open,
 * so the promise rejects with LoadError while descriptors are short, and the next call tries again.
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
