import { type FlagTable, readFlag } from '../config/go_flags.ts'

/**
 * Converts a command line to the one form that commander reads, so that twilld's lines work for twill: one
 * dash or two before a flag's name, `--flag=false` for a boolean, `-o=json`. A boolean always carries its
 * value, so it never takes the next word; every other flag without `=` does. Words that are not flags of the
 * table stay unchanged. Throws FlagError.
 */
export function goWords(words: readonly string[], table: FlagTable): readonly string[] {
  const end = words.indexOf('--')
  const [before, after] = end < 0 ? [words, []] : [words.slice(0, end), words.slice(end)]
  let isValue = false
  const normalized = before.flatMap(word => {
    const flag = isValue ? undefined : flagIn(word, table)
    const kept = isValue ? word : word.replace(/^-o=/, '-o')
    isValue = flag !== undefined && flag.kind !== 'bool' && flag.text === undefined
    return flag === undefined ? [kept] : printFlag(flag)
  })
  return [...normalized, ...after]
}

function flagIn(word: string, table: FlagTable) {
  const [, name = '', text] = /^--?([a-z][\w-]*)(?:=(.*))?$/s.exec(word) ?? []
  const flag = Object.hasOwn(table, name) ? table[name] : undefined
  return flag === undefined ? undefined : { ...flag, name, text }
}

/** A boolean with an empty value, as from templates, counts as not given. */
function printFlag({ name, text, ...flag }: NonNullable<ReturnType<typeof flagIn>>): readonly string[] {
  if (flag.kind !== 'bool') return [text === undefined ? `--${name}` : `--${name}=${text}`]
  return text === '' ? [] : [`--${name}=${readFlag(name, flag, text ?? 'true')}`]
}
