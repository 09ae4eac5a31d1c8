import { version } from '../../agent/version.ts'

/**
 * What a tool answers to `--help` or `--version`, on stdout, before it looks at anything else; undefined to
 * other words.
 */
export function helpFor(words: readonly string[], usage: string): string | undefined {
  const asks = (...names: string[]) => words.some(word => names.includes(word))
  if (asks('--help', '-help', '-h')) return usage
  return asks('--version', '-version') ? `${version}\n` : undefined
}
