/** A problem that a check found, with all that an operator needs to fix it. */
export interface Finding {
  /** Name of the check, for scripts and metrics: `forwarding`. */
  readonly check: string
  /** `broken`: cuts pods off. `risk`: may do so. `unseen`: the check could not read all it needs. */
  readonly severity: 'broken' | 'risk' | 'unseen'
  readonly what: string
  /** The entry, setting or line that shows it. */
  readonly evidence: string
  readonly cause: string
  /** A command or an action. */
  readonly remedy: string
}

export type Found = Finding | readonly Finding[]

/** Sorts by severity, and keeps the order of the checks: causes come before their effects. */
export function ranked(findings: readonly Finding[]): readonly Finding[] {
  const rank = { broken: 0, risk: 1, unseen: 2 } as const
  return findings.toSorted((a, b) => rank[a.severity] - rank[b.severity])
}

export function printFindings(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'Nothing is wrong that can be seen on this host\n'
  return findings.map(printFinding).join('\n')
}

function printFinding({ check, severity, what, evidence, cause, remedy }: Finding, place: number): string {
  const mark = severity === 'broken' ? 'BROKEN' : severity
  return `${place + 1}. ${mark} (${check}): ${what}
   seen:  ${evidence}
   cause: ${cause}
   fix:   ${remedy}
`
}
