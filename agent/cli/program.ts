import type { Env } from '../config/flags.ts'
import { exitCode } from '../exit_code.ts'
import { commands } from './commands.ts'
import type { Output } from './output/output.ts'
import { codeOfUsage, newParser } from './parser.ts'

/** Runs one command line, prints errors, and returns the exit code. Loads only the commands that it names. */
export async function run(words: readonly string[], env: Env, out: Output, err: Output): Promise<number> {
  const parser = newParser(words, out, err)
  let answer: number = exitCode.stopped
  let noAnswerCode: number | undefined
  try {
    let line = words
    if (commands.some(({ name }) => words.includes(name))) {
      const { defineCommands } = await import('./define_commands.ts')
      const world = { env, out, err, commands }
      const defined = await defineCommands(parser, words, world, code => {
        answer = code
      })
      ;({ words: line, noAnswerCode } = defined)
    }
    await parser.parseAsync([...line], { from: 'user' })
    return answer
  } catch (error) {
    const code = codeOfUsage(error)
    if (code !== undefined) return code
    const { failed } = await import('./failure.ts')
    return failed(error, err, noAnswerCode)
  }
}
