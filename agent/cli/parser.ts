import { Command as Commander, CommanderError } from 'commander'
import { exitCode } from '../exit_code.ts'
import { version } from '../version.ts'
import { commands } from './commands.ts'
import { printExamples } from './definition/print_examples.ts'
import type { Output } from './output/output.ts'

export type Parser = Commander

/** With the names of all commands, without their flags and actions; prints help and usage errors. */
export function newParser(words: readonly string[], out: Output, err: Output): Parser {
  const parser = new Commander('twill')
    .description(
      'Looks into a twill or flannel network: who has which subnet, and why a packet does not arrive',
    )
    .version(version)
    .exitOverride()
    .addHelpText('after', `\nExamples:\n${printExamples(commands.slice(0, 5))}`)
    .configureOutput({
      writeOut: text => out.write(text),
      writeErr: text => err.write(text),
      outputError: (text, write) => write(printUsageError(text, words)),
    })
  for (const { name, description } of commands) parser.command(name).description(description)
  return parser
}

/** The exit code where the parser has printed help or an error of its own; undefined for other errors. */
export function codeOfUsage(error: unknown): number | undefined {
  if (!(error instanceof CommanderError)) return undefined
  return error.exitCode === 0 ? exitCode.stopped : exitCode.badFlag
}

/** commander's message on one line, with a hint to the help; without the value of a misspelt flag. */
function printUsageError(text: string, [name = '']: readonly string[]): string {
  const known = commands.some(entry => entry.name === name) ? `${name} ` : ''
  return `twill: ${text
    .replace(/^error: /, '')
    .replace(/('-[^=']*=).*'/s, "$1***'")
    .trim()
    .replaceAll(/\s+/g, ' ')}; see: twill ${known}--help\n`
}
