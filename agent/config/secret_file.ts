import { messageOf } from '../../lease/common/errors.ts'
import { FileError, readRegularFileSync } from '../../lease/common/read_file.ts'
import { ConfigError } from './values.ts'

/** Longer than any password or token. */
const MOST_BYTES = 4096

/** The file's first line. Throws ConfigError, whose message never contains the secret. */
export function readSecret(flag: string, file: string): string {
  const [secret = ''] = readShort(flag, file).split(/\r?\n/, 1)
  if (secret === '') throw new ConfigError(`--${flag}: the first line of ${file} is empty`)
  return secret
}

function readShort(flag: string, file: string): string {
  try {
    return readRegularFileSync(file, MOST_BYTES)
  } catch (cause) {
    const remedy = cause instanceof FileError ? '; give a file that holds the secret alone' : ''
    throw new ConfigError(`--${flag}: cannot read ${file}: ${messageOf(cause)}${remedy}`, { cause })
  }
}
