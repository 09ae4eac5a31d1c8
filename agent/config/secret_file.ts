import { readFileSync, statSync } from 'node:fs'
import { messageOf } from '../../lease/common/errors.ts'
import { ConfigError } from './values.ts'

/** Longer than any password or token, and a limit for a wrong path such as /dev/zero. */
const MOST_BYTES = 4096

/** The file's first line. Throws ConfigError, whose message never contains the secret. */
export function readSecret(flag: string, file: string): string {
  const [secret = ''] = readShort(flag, file).split(/\r?\n/, 1)
  if (secret === '') throw new ConfigError(`--${flag}: the first line of ${file} is empty`)
  return secret
}

function readShort(flag: string, file: string): string {
  try {
    const { size } = statSync(file)
    if (size <= MOST_BYTES && !file.startsWith('/dev/')) return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ConfigError(`--${flag}: cannot read ${file}: ${messageOf(cause)}`, { cause })
  }
  throw new ConfigError(`--${flag}: ${file} has more than ${MOST_BYTES} bytes: it must hold the secret alone`)
}
