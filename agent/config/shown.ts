import { withoutLogin } from '../../lease/common/url_logins.ts'
import type { Flag, FlagTable } from './go_flags.ts'

const MASK = '***'

export function maskPassword(): string {
  return MASK
}

/** The absolute path of a token's file is no secret. */
export function maskToken(value: string): string {
  return value.startsWith('/') ? value : MASK
}

/** For a URL, or a list of them: without user and password. */
export function maskLogin(value: string): string {
  return withoutLogin(value, `${MASK}@`)
}

/** A flag's value without passwords and tokens, for messages, the log and documents. */
export function shownValue(flag: Flag, value: string): string {
  return value === '' ? '' : (flag.shown?.(value) ?? value)
}

/** As `shownValue`, in each `--name=value` of a command of any program. */
export function shownCommand(table: FlagTable, words: readonly string[]): readonly string[] {
  return words.map(word => {
    const [, head = '', name = '', value] = wordOfFlag.exec(word) ?? []
    const flag = Object.hasOwn(table, name) ? table[name] : undefined
    return flag === undefined || value === undefined ? word : `${head}=${shownValue(flag, value)}`
  })
}

/**
 * A command line's words, as `shownValue`. No value of an unknown flag is shown: it may be a misspelt one.
 */
export function shownWords(table: FlagTable, words: readonly string[]): readonly string[] {
  const shown = (name: string, value: string) => {
    const flag = Object.hasOwn(table, name) ? table[name] : undefined
    return flag === undefined ? MASK : shownValue(flag, value)
  }
  return words.map((word, at) => {
    const [, head = '', name = '', value] = wordOfFlag.exec(word) ?? []
    if (head !== '') return value === undefined ? word : `${head}=${shown(name, value)}`
    // A space behind `=` makes two words of a value: `--etcd-password= s3cret`.
    const [, , before, given = ''] = wordOfFlag.exec(words[at - 1] ?? '') ?? []
    return before === undefined || given !== '' ? word : shown(before, word)
  })
}

const wordOfFlag = /^(--?([^-=][^=]*))(?:=(.*))?$/s
