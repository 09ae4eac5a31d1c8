/**
 * The variables that a service gets, read as systemd does from unit files (systemd.exec(5), Environment=,
 * EnvironmentFile=). A shell, and flanneld with subnet.env, read differently: systemd does not expand a
 * value, and ignores `export NAME=value`.
 */

export interface UnitEnvironment {
  readonly values: Readonly<Record<string, string>>
  /** Lines that systemd ignores although an operator meant them to count; one sentence each. */
  readonly warnings: readonly string[]
}

/** `units`: texts of the unit and its drop-ins, in systemd's order. `read`: a file's text. */
export function readUnitEnvironment(
  units: readonly string[],
  read: (path: string) => string | undefined,
): UnitEnvironment {
  const set: string[] = []
  const files: string[] = []
  for (const [name, value] of units.flatMap(settings)) {
    const list = name === 'Environment' ? set : name === 'EnvironmentFile' ? files : undefined
    if (list === undefined) continue
    // An empty value removes the earlier ones.
    if (value === '') list.length = 0
    else list.push(...(name === 'Environment' ? words(value) : [value.replace(/^-/, '')]))
  }
  const contents = files.map(path => [path, readEnvironmentFile(read(path) ?? '')] as const)
  return {
    values: Object.fromEntries([...set.flatMap(assignment), ...contents.flatMap(([, file]) => file.values)]),
    warnings: contents.flatMap(([path, { exported }]) =>
      exported.map(
        name =>
          `systemd ignores 'export ${name}=...' in ${path}: remove the word export, or the agent does not get it`,
      ),
    ),
  }
}

/** `Name=value` of all sections, with continued lines joined. */
function settings(text: string): readonly (readonly [string, string])[] {
  const lines = text.replaceAll(/^\s*[#;].*\n/gm, '').replaceAll('\\\n', ' ')
  const found = lines.matchAll(/^[^\S\n]*(\w+)[^\S\n]*=[^\S\n]*(.*?)[^\S\n]*$/gm)
  return Array.from(found, ([, name = '', value = '']) => [name, value])
}

/** Splits as extract_first_word() does with EXTRACT_CUNESCAPE and EXTRACT_UNQUOTE; `%%` is a percent sign. */
function words(text: string): readonly string[] {
  const found = text.match(/(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+/g) ?? []
  return found.map(word =>
    word
      .replaceAll(/"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|\\(.)/g, (_, double, single, escaped) =>
        String(double ?? single ?? escaped).replaceAll(/\\(.)/g, '$1'),
      )
      .replaceAll('%%', '%'),
  )
}

function assignment(word: string): readonly (readonly [string, string])[] {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(word) ?? []
  return name === undefined || value === undefined ? [] : [[name, value]]
}

/** As load_env_file(): no comment after a value, no `$NAME`; quotes count where a value begins with them. */
function readEnvironmentFile(text: string): {
  readonly values: readonly (readonly [string, string])[]
  readonly exported: readonly string[]
} {
  const values: (readonly [string, string])[] = []
  const exported: string[] = []
  for (const [, word, name = '', quoted = '', plain = ''] of text
    .replaceAll('\r\n', '\n')
    .matchAll(statement)) {
    if (word !== undefined) exported.push(name)
    else values.push([name, inQuotes(quoted) + plain.trimEnd().replaceAll(/\\\n|\\([\s\S])/g, '$1')])
  }
  return { values, exported }
}

/** `export `, the name, what is in quotes, and the rest. */
const statement =
  /^[^\S\n]*(export[^\S\n]+)?([A-Za-z_]\w*)[^\S\n]*=[^\S\n]*((?:(?:"(?:\\[\s\S]|[^"\\])*"|'[^']*')[^\S\n]*)*)((?:\\[\s\S]|[^\\\n])*)/gm

function inQuotes(text: string): string {
  const parts = text.matchAll(/"((?:\\[\s\S]|[^"\\])*)"|'([^']*)'/g)
  return Array.from(
    parts,
    ([, double, single = '']) => double?.replaceAll('\\\n', '').replaceAll(/\\(["\\`$])/g, '$1') ?? single,
  ).join('')
}
