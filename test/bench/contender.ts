import type { Command } from '../support/exec.ts'

/** An agent that is measured from outside, by what the kernel and /proc show: any that takes flanneld's flags. */
export interface Contender {
  readonly name: string
  /** What its flags are put behind; undefined for twilld as it was built here. */
  readonly command: Command | undefined
}

export const twilld: Contender = { name: 'twilld', command: undefined }

/** `flanneld=/usr/local/bin/flanneld -v 2`: the command is sh's to read. Throws for anything else. */
export function parseContender(text: string): Contender {
  const [, name, command] = /^([\w.-]+)=(\S.*)$/.exec(text) ?? []
  if (name === undefined || command === undefined)
    throw new Error(`--compare '${text}': must be NAME=COMMAND, as in flanneld=/usr/local/bin/flanneld`)
  return { name, command: ['sh', '-c', `exec ${command} "$@"`, name] }
}
