/** One step of a packet on this host. */
export interface Hop {
  /** `route`, `neighbor`, `FDB`, ...: what the kernel consults. */
  readonly step: string
  /** `unknown`: it could not be seen (no root, no tool). */
  readonly state: 'ok' | 'broken' | 'unknown'
  /** The entry or setting that is used, as iproute2 prints it. */
  readonly used: string
  /** Why it is broken or unknown. */
  readonly why?: string
  /** A command or an act that mends it. */
  readonly remedy?: string
}

const marks = { ok: ' ok  ', broken: 'BREAK', unknown: '  ?  ' } as const

/** One line a hop; what is wrong and what to do stand below it. */
export function printHop({ step, state, used, why, remedy }: Hop): string {
  const lines = [`${marks[state]} ${step.padEnd(18)} ${used}`]
  const below = ' '.repeat(25)
  if (why !== undefined) lines.push(`${below}${why}`)
  if (remedy !== undefined) lines.push(`${below}=> ${remedy}`)
  return lines.join('\n')
}
