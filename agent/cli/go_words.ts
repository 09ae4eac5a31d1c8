import { type FlagTable, readFlag } from '../config/go_flags.ts'

/**
 * Converts a command line to the one form that commander reads, so that twilld's lines work for twill: one
 * dash or two before a flag's name, `--flag=false` for a boolean, `-o=json`. Words that are not flags of the
 * table stay unchanged. Throws FlagError.
 */
export function goWords(words: readonly string[], table: FlagTable): readonly string[] {
  const end = words.indexOf('--')
  const [before, after] = end < 0 ? [words, []] : [words.slice(0, end), words.slice(end)]
  return [...before.flatMap(word => normal(word, table)), ...after]
}

function normal(word: string, table: FlagTable): readonly string[] {
  const [, name = '', text] = /^--?([a-z][\w-]*)(?:=(.*))?$/s.exec(word) ?? []
  const flag = Object.hasOwn(table, name) ? table[name] : undefined
  if (flag === undefined) return [word.replace(/^-o=/, '-o')]
  // Only a switch that is on by default can be switched off.
  if (flag.default === true) return [`--${name}=${readFlag(name, flag, text || 'true')}`]
  if (flag.kind !== 'bool') return [text === undefined ? `--${name}` : `--${name}=${text}`]
  if (text === undefined || text === '') return text === '' ? [] : [`--${name}`]
  return readFlag(name, flag, text) ? [`--${name}`] : []
}
