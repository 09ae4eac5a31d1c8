/** Something that a check found, with all that an operator needs to mend it. */
export interface Finding {
  /** Which check it is of; a name for scripts and metrics: `forwarding`. */
  readonly check: string
  /** `broken`: pods cannot reach peers because of it. `risk`: it may break them, or keeps the agent from mending. */
  readonly severity: 'broken' | 'risk'
  /** What is wrong, one sentence. */
  readonly what: string
  /** The entry, setting or line that shows it. */
  readonly evidence: string
  readonly cause: string
  /** A command or an act. */
  readonly remedy: string
}

/** Broken things first, each kind in the order of the checks: from what explains most to what explains least. */
export function ranked(findings: readonly Finding[]): readonly Finding[] {
  return findings.toSorted((a, b) => Number(a.severity === 'risk') - Number(b.severity === 'risk'))
}

export function printFindings(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'Nothing is wrong that can be seen on this host\n'
  return findings.map(printFinding).join('\n')
}

function printFinding({ check, severity, what, evidence, cause, remedy }: Finding, place: number): string {
  const mark = severity === 'broken' ? 'BROKEN' : 'risk'
  const lines = [`${place + 1}. ${mark} (${check}): ${what}`, `   seen:  ${evidence}`]
  return [...lines, `   cause: ${cause}`, `   mend:  ${remedy}`, ''].join('\n')
}
