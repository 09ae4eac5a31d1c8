import { type FlagTable, readFlag } from '../config/go_flags.ts'

/**
 * The words of a command line in the one form that commander reads, so that a line for twilld is one for twill: one dash or two
 * in front of a flag's name, `--flag=false` for a boolean. Words that are no flags of the table stay as they are. Throws FlagError.
 */
export function goWords(words: readonly string[], table: FlagTable): readonly string[] {
  const end = words.indexOf('--')
  const [before, after] = end < 0 ? [words, []] : [words.slice(0, end), words.slice(end)]
  return [...before.flatMap(word => normal(word, table)), ...after]
}

function normal(word: string, table: FlagTable): readonly string[] {
  const [, name = '', text] = /^--?([a-z][\w-]*)(?:=(.*))?$/s.exec(word) ?? []
  const flag = Object.hasOwn(table, name) ? table[name] : undefined
  if (flag === undefined) return [word]
  if (flag.kind !== 'bool') return [text === undefined ? `--${name}` : `--${name}=${text}`]
  if (text === undefined || text === '') return text === '' ? [] : [`--${name}`]
  return readFlag(name, flag, text) ? [`--${name}`] : []
}
