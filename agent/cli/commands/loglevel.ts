import { FlagError } from '../../config/go_flags.ts'
import { logLevels } from '../../status/log/log_level.ts'
import { answer, command, outputFlags } from '../definition/command.ts'
import { nodeFlags, tellAgent } from '../source/ask_node.ts'

const { 'local-socket': socket, timeout } = nodeFlags
const flags = { 'local-socket': socket, timeout, ...outputFlags }

/** `twill loglevel [LEVEL]`: the running agent's log level, until its restart. */
export const loglevel = command(
  { flags, readsStore: false, operands: ['[LEVEL]'] },
  async (values, { operands: [level], out }) => {
    if (level !== undefined && !logLevels.some(known => known === level))
      throw new FlagError(`LEVEL is '${level}': it must be ${logLevels.join(', ')}`)
    const path = level === undefined ? 'loglevel' : `loglevel?${new URLSearchParams({ level })}`
    const method = level === undefined ? 'GET' : 'POST'
    const document = await tellAgent<{ readonly level: string }>(values, path, method)
    answer(values, out, document, ({ level }) => `${level}\n`)
    return 0
  },
)
