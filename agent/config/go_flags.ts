import { ExpectedError } from '../../lease/common/errors.ts'

/**
 * Command lines as Go's `flag` package reads them (https://pkg.go.dev/flag#hdr-Command_line_flag_syntax), for
 * units and manifests written for flanneld: one dash or two, `-name value` or `-name=value`, a boolean never
 * takes the next word, and the first word that is not a flag ends the flags. No npm parser reads `-iface
 * eth0` this way.
 *
 * One difference: an empty value, as from templates (`--iface=`), counts as not given. flanneld fails on most
 * of these.
 */

export type FlagValue = boolean | number | string | readonly string[]

export interface Flag<V extends FlagValue = FlagValue> {
  readonly kind: 'bool' | 'int' | 'string' | 'list'
  readonly default: V
  readonly help: string
  /** All allowed values; undefined: any. */
  readonly choices?: readonly string[]
  /** How a value is printed that can be a secret or contain one; undefined: as it is. */
  readonly shown?: (value: string) => string
  /** Parses `text` into a value. Throws FlagError with the reason alone. */
  readonly read: (text: string) => V
}

/** Flags by name, in the order in which help prints them. */
export type FlagTable = Readonly<Record<string, Flag>>

export type FlagValues<T extends FlagTable> = { readonly [N in keyof T]: T[N]['default'] }

export interface ParsedFlags<T extends FlagTable> {
  readonly values: FlagValues<T>
  readonly given: ReadonlySet<string>
  /** The first word that is not a flag, and all words behind it. */
  readonly rest: readonly string[]
  /** `-h` or `--help` was given; the words behind it were not read. */
  readonly help: boolean
}

/** A command line that Go's `flag` refuses, with its text. */
export class FlagError extends ExpectedError {
  override name = 'FlagError'
}

/** Reads a command line (without the program's name). Throws only FlagError. */
export function parseGoFlags<T extends FlagTable>(table: T, words: readonly string[]): ParsedFlags<T> {
  const values = new Map<string, FlagValue>(Object.entries(table).map(([name, flag]) => [name, flag.default]))
  const given = new Set<string>()
  let at = 0
  const parsed = (help: boolean) => ({
    values: Object.fromEntries(values) as FlagValues<T>,
    given,
    rest: words.slice(at),
    help,
  })
  for (;;) {
    const word = words[at]
    if (word === undefined || word.length < 2 || !word.startsWith('-')) break
    at++
    if (word === '--') break
    const { name, text } = splitWord(word)
    const flag = Object.hasOwn(table, name) ? table[name] : undefined
    if (flag === undefined) {
      if (name === 'h' || name === 'help') return parsed(true)
      throw new FlagError(`flag provided but not defined: -${name}`)
    }
    const value = text ?? (flag.kind === 'bool' ? 'true' : words[at++])
    if (value === undefined) throw new FlagError(`flag needs an argument: -${name}`)
    if (value === '') continue
    const read = readFlag(name, flag, value)
    const before = values.get(name)
    values.set(name, Array.isArray(read) && Array.isArray(before) ? [...before, ...read] : read)
    given.add(name)
  }
  return parsed(false)
}

/** A flag's value from one text (of a variable). Throws FlagError as for the command line. */
export function readFlag<V extends FlagValue>(name: string, flag: Flag<V>, text: string): V {
  try {
    return flag.read(text)
  } catch (cause) {
    if (!(cause instanceof FlagError)) throw cause
    const what =
      flag.kind === 'bool'
        ? `boolean value ${JSON.stringify(withoutValue(text))} for`
        : `value ${JSON.stringify(withoutValue(text))} for flag`
    throw new FlagError(`invalid ${what} -${name}: ${cause.message}`, { cause })
  }
}

/** One paragraph for each flag, as Go prints its defaults. */
export function printFlags(table: FlagTable): string {
  const paragraphs = Object.entries(table).map(([name, flag]) => {
    const kind = flag.kind === 'bool' ? '' : ` ${flag.kind === 'list' ? 'value (repeatable)' : flag.kind}`
    const shown = typeof flag.default === 'string' ? JSON.stringify(flag.default) : String(flag.default)
    const unset = flag.default === '' || flag.default === false || flag.kind === 'list'
    return `  --${name}${kind}\n        ${flag.help}${unset ? '' : ` (default ${shown})`}\n`
  })
  return paragraphs.join('')
}

export function bool(byDefault: boolean, help: string): Flag<boolean> {
  return { kind: 'bool', default: byDefault, help, read: readBool }
}

export function int(byDefault: number, help: string): Flag<number> {
  return { kind: 'int', default: byDefault, help, read: readInt }
}

/** A time-out in whole seconds, at most a day: Node.js' timers end after 24 days. */
export function seconds(byDefault: number, least: 0 | 1, help: string): Flag<number> {
  return { ...int(byDefault, help), read: text => readIntWithin(text, least, 86_400) }
}

/** A TCP or UDP port; 0: none. */
export function port(byDefault: number, help: string): Flag<number> {
  return { ...int(byDefault, help), read: text => readIntWithin(text, 0, 65_535) }
}

export function string(byDefault: string, help: string, read = (text: string) => text): Flag<string> {
  return { kind: 'string', default: byDefault, help, read }
}

export function oneOf<T extends string>(
  byDefault: T | '',
  choices: readonly T[],
  help: string,
): Flag<T | ''> {
  const read = (text: string) => {
    const choice = choices.find(one => one === text)
    if (choice === undefined) throw new FlagError(`it must be ${choices.join(', ')}`)
    return choice
  }
  return { kind: 'string', default: byDefault, choices, help, read }
}

/** Empty by default; each use adds one value. */
export function list(help: string): Flag<readonly string[]> {
  return { kind: 'list', default: [], help, read: text => [text] }
}

/** `--name=value`, `-name`; `text` is undefined without `=`. Throws FlagError. */
export function splitWord(word: string): { name: string; text: string | undefined } {
  const body = word.slice(word.startsWith('--') ? 2 : 1)
  if (body === '' || body.startsWith('-') || body.startsWith('='))
    throw new FlagError(`bad flag syntax: ${withoutValue(word)}`)
  const equals = body.indexOf('=')
  return equals < 0
    ? { name: body, text: undefined }
    : { name: body.slice(0, equals), text: body.slice(equals + 1) }
}

/** A flag's word for a message: a value given to it by mistake may be a secret. */
function withoutValue(word: string): string {
  return word.replace(/^(-+[^-=][^=]*=).+/s, '$1***')
}

/** strconv.ParseBool. */
function readBool(text: string): boolean {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false
  throw new FlagError('parse error')
}

function readIntWithin(text: string, least: number, most: number): number {
  const value = readInt(text)
  if (value < least || value > most) throw new FlagError(`it must be ${least} to ${most}`)
  return value
}

/** strconv.ParseInt with base 0: a leading 0 or 0o is octal, 0x hex, 0b binary, `_` between digits. */
function readInt(text: string): number {
  const [, sign, hex, binary, octal, decimal] =
    /^([+-]?)(?:0[xX]((?:_?[0-9a-fA-F])+)|0[bB]((?:_?[01])+)|0[oO]?((?:_?[0-7])+)|(0|[1-9](?:_?[0-9])*))$/.exec(
      text,
    ) ?? []
  const digits =
    (hex && `0x${hex}`) ?? (binary && `0b${binary}`) ?? (octal && `0o${octal}`) ?? decimal ?? undefined
  if (digits === undefined) throw new FlagError('parse error')
  const value = BigInt(digits.replaceAll('_', '')) * (sign === '-' ? -1n : 1n)
  if (BigInt.asIntN(64, value) !== value) throw new FlagError('value out of range')
  return Number(value)
}
