import { FlagError } from '../../config/go_flags.ts'
import { logLevels } from '../../status/log/log_level.ts'
import { command } from '../definition/command.ts'
import {
  type DescribedCommand,
  type DescribedFlag,
  describeCommands,
  describedStoreFlags,
} from '../definition/described.ts'

type Print = (commands: readonly DescribedCommand[]) => string

const shells: Readonly<Record<string, Print>> = { bash: printBash, zsh: printZsh, fish: printFish }

/** `twill completion bash|zsh|fish`: a script for the shell, complete in itself. */
export const completion = command(
  { flags: {}, readsStore: false, operands: ['<SHELL>'] },
  async (_, { operands: [shell = ''], out, commands }) => {
    const print = Object.hasOwn(shells, shell) ? shells[shell] : undefined
    if (print === undefined)
      throw new FlagError(`SHELL is '${shell}': it must be ${Object.keys(shells).join(', ')}`)
    out.write(print(await describeCommands(commands)))
    return 0
  },
)

/** Words for the place of the first operand. */
function operandWords({ name }: DescribedCommand): readonly string[] {
  if (name === 'loglevel') return logLevels
  return name === 'completion' ? Object.keys(shells) : []
}

function flagsOf({ flags, readsStore }: DescribedCommand): readonly DescribedFlag[] {
  return readsStore ? [...flags, ...describedStoreFlags] : flags
}

/** Whether values are files, judged by the flag's name. */
function takesFile({ name }: DescribedFlag): boolean {
  return /file$|socket$|path$/.test(name)
}

/** Values of a switch: they stand behind `=`, as a switch never takes the next word. */
const switchValues = ['true', 'false']

/** bash splits a word at `=`: `--format=svg` arrives as three words. */
function printBash(commands: readonly DescribedCommand[]): string {
  const all = commands.flatMap(flagsOf)
  const files = [...new Set(all.filter(takesFile).map(({ name }) => `--${name}`))]
  const choices = commands.flatMap(one => flagsOf(one).flatMap(flag => bashValues(one, flag)))
  const words = commands.map(one => {
    const flags = flagsOf(one).map(({ name }) => `--${name}`)
    return `    ${one.name}) words='${[...operandWords(one), ...flags, '--help'].join(' ')}' ;;`
  })
  return `# bash completion of twill
_twill() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} words='' is=''
  COMPREPLY=()
  if [ "$cur" = = ]; then cur='' is='='
  elif [ "$prev" = = ]; then prev=\${COMP_WORDS[COMP_CWORD - 2]} is='='; fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')} --help --version' -- "$cur"))
    return
  fi
  case $prev in
    ${files.join(' | ')}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  [ "$prev" = -o ] && prev=--output
  case "\${COMP_WORDS[1]} $prev$is" in
${choices.join('\n')}
  esac
  [ -n "$words$is" ] || case \${COMP_WORDS[1]} in
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _twill twill
`
}

function bashValues({ name: command }: DescribedCommand, { name, kind, choices }: DescribedFlag) {
  const place = `'${command} --${name}`
  if (kind === 'bool') return [`    ${place}=') words='${switchValues.join(' ')}' ;;`]
  return choices === undefined ? [] : [`    ${place}' | ${place}=') words='${choices.join(' ')}' ;;`]
}

function printZsh(commands: readonly DescribedCommand[]): string {
  const text = (words: string) => words.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, '\\$&')
  const argument = (flag: DescribedFlag) => {
    if (flag.kind === 'bool')
      return `'--${flag.name}=-[${text(flag.help)}]::bool:(${switchValues.join(' ')})'`
    const free = takesFile(flag) ? '_files' : ' '
    const values = flag.choices === undefined ? free : `(${flag.choices.join(' ')})`
    return `'--${flag.name}=[${text(flag.help)}]:${flag.kind}:${values}'`
  }
  const cases = commands.map(one => {
    const words = operandWords(one)
    const operands = words.length > 0 ? [`'1:word:(${words.join(' ')})'`] : []
    return `    ${one.name}) _arguments ${[...flagsOf(one).map(argument), ...operands, "'--help[show help]'"].join(' \\\n      ')} ;;`
  })
  return `#compdef twill
_twill() {
  local -a commands
  commands=(
${commands.map(({ name, description }) => `    '${name}:${text(description)}'`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _twill ]; then _twill "$@"; else compdef _twill twill; fi
`
}

function printFish(commands: readonly DescribedCommand[]): string {
  const quote = (text: string) => `'${text.replaceAll(/['\\]/g, '\\$&')}'`
  const option = (one: DescribedCommand, flag: DescribedFlag) => {
    const free = takesFile(flag) ? ' -r -F' : ' -x'
    const values = flag.choices === undefined ? free : ` -x -a ${quote(flag.choices.join(' '))}`
    // Without -r, fish offers the values behind `=` alone.
    const shown = flag.kind === 'bool' ? ` -a ${quote(switchValues.join(' '))}` : values
    const short = flag.name === 'output' ? '-s o ' : ''
    return `${after(one)} ${short}-l ${flag.name}${shown} -d ${quote(flag.help)}`
  }
  const after = (one: DescribedCommand) => `complete -c twill -n '__fish_seen_subcommand_from ${one.name}'`
  const lines = commands.flatMap(one => [
    `complete -c twill -n __fish_use_subcommand -a ${one.name} -d ${quote(one.description)}`,
    ...operandWords(one).map(word => `${after(one)} -a ${word}`),
    ...flagsOf(one).map(flag => option(one, flag)),
  ])
  return `# fish completion of twill\ncomplete -c twill -f\n${lines.join('\n')}\n`
}
