import { allFlags } from '../../config/flags.ts'
import { version } from '../../version.ts'
import { command } from '../definition/command.ts'
import {
  type DescribedCommand,
  type DescribedFlag,
  describeCommands,
  describedStoreFlags,
  printFlagHelp,
} from '../definition/described.ts'

/** `twill man`: the manual page twill(8), in the macros of man(7). */
export const man = command({ flags: {}, readsStore: false }, async (_, { out, commands }) => {
  out.write(printManual(await describeCommands(commands)))
  return 0
})

const opening = [
  'twill looks into an overlay network of twilld or flanneld agents.',
  "It asks this host's agent over its local socket. Where none answers, or a flag names a store, it reads store and kernel itself;",
  'where the store does not answer either, it shows the leases that the agent saved last.',
]

const exits = [
  ['0', 'done; status, doctor: healthy; diff: the kernel is as desired; trace, probe: the way is sound'],
  ['1', 'status, doctor: degraded; diff, trace, probe: something was found; else: as stderr says'],
  ['2', 'wrong command line; status, doctor, trace, probe, diff: could not tell'],
  ['4', 'the store did not answer'],
  ['5', 'install: all is written, and the agent has ended or is not ready in time'],
  ['70', 'an unexpected error, with its stack'],
] as const

const files = [
  [allFlags['local-socket'].default, "the agent's local API"],
  [allFlags['cache-file'].default, 'the leases that the agent saved last'],
  [allFlags['subnet-file'].default, "this node's subnet, for CNI plugins"],
] as const

function printManual(commands: readonly DescribedCommand[]): string {
  return [
    `.TH TWILL 8 "" "twill ${roff(version)}" "System Administration"`,
    '.SH NAME',
    'twill \\- look into a twill or flannel network',
    '.SH SYNOPSIS',
    '.B twill',
    '.I COMMAND',
    '.RI [ FLAG ...]',
    '.SH DESCRIPTION',
    ...opening.map(roff),
    '.SH COMMANDS',
    ...commands.flatMap(printCommand),
    '.SH STORE FLAGS',
    'Every command that reads the store takes these flags and variables of twilld and flanneld.',
    ...describedStoreFlags.flatMap(printFlag),
    '.SH ENVIRONMENT',
    ...definition('NO_COLOR', 'not empty: no colours'),
    '.SH EXIT STATUS',
    ...exits.flatMap(([code, meaning]) => definition(code, meaning)),
    '.SH FILES',
    ...files.flatMap(([file, holds]) => definition(file, holds)),
    '.SH SEE ALSO',
    '.BR ip (8),',
    '.BR bridge (8)',
    '',
  ].join('\n')
}

function printCommand({ name, operands, description, flags, examples }: DescribedCommand): string[] {
  return [
    `.SS "twill ${[name, ...operands].map(roff).join(' ')}"`,
    `${roff(sentence(description))}.`,
    ...flags.flatMap(printFlag),
    '.PP',
    'Examples:',
    ...examples.flatMap(([line, does]) => [
      '.PP',
      `${roff(sentence(does))}:`,
      '.PP',
      '.nf',
      roff(line),
      '.fi',
    ]),
  ]
}

function printFlag(flag: DescribedFlag): string[] {
  const short = flag.name === 'output' ? '-o, ' : ''
  const kind = flag.kind === 'bool' ? '[=bool]' : ` ${flag.kind}`
  return definition(`${short}--${flag.name}${kind}`, printFlagHelp(flag))
}

function definition(term: string, text: string): string[] {
  return ['.TP', `.B ${roff(term)}`, roff(text)]
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** Escapes dashes, which roff prints as hyphens, and lines that start with a dot or a quote. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&')
}
