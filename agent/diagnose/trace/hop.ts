import type { NeighborFacts } from '../host_facts.ts'

export const hopStates = ['ok', 'broken', 'unknown'] as const

export interface Hop {
  /** `route`, `neighbor`, `FDB`, ...: what the kernel consults. */
  readonly step: string
  /** `unknown`: it could not be read (no root, no tool). */
  readonly state: (typeof hopStates)[number]
  /** The entry or setting in use, as iproute2 prints it. */
  readonly used: string
  readonly why?: string
  /** A command or an action that repairs it. */
  readonly remedy?: string
}

export function printNeighbor({ address, dev, mac, states }: NeighborFacts): string {
  return `${address} dev ${dev} lladdr ${mac ?? '-'} ${states.join(' ')}`
}

const marks = { ok: ' ok  ', broken: 'BREAK', unknown: '  ?  ' } as const

/** One line for each hop; the problem and its remedy stand below. */
export function printHop({ step, state, used, why, remedy }: Hop): string {
  const lines = [`${marks[state]} ${step.padEnd(18)} ${used}`]
  const below = ' '.repeat(25)
  if (why !== undefined) lines.push(`${below}${why}`)
  if (remedy !== undefined) lines.push(`${below}=> ${remedy}`)
  return lines.join('\n')
}
