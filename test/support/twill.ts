import { run } from '../../agent/cli/program.ts'
import type { Env } from '../../agent/config/flags.ts'

export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a line of the CLI in this process. */
export async function twill(line: string, env: Env = {}): Promise<Said> {
  const said = { out: '', err: '' }
  const into = (name: 'out' | 'err') => ({ write: (text: string) => (said[name] += text) })
  const code = await run(line.split(' '), env, into('out'), into('err'))
  return { code, ...said }
}
