import { version } from '../../agent/version.ts'

/**
 * A tool's answer to `--help` or `--version`, for stdout, before it reads any other argument; undefined for
 * other arguments.
 */
export function helpFor(words: readonly string[], usage: string): string | undefined {
  const asks = (...names: string[]) => words.some(word => names.includes(word))
  if (asks('--help', '-help', '-h')) return usage
  return asks('--version', '-version') ? `${version}\n` : undefined
}
