import type { CommandEntry } from './command.ts'

/** The purpose of a line stands above it, as a shell comment. */
export function printExamples(entries: readonly Pick<CommandEntry, 'examples'>[]): string {
  return entries
    .flatMap(({ examples }) => examples.map(([line, does]) => `  # ${does}\n  ${line}\n`))
    .join('')
}
