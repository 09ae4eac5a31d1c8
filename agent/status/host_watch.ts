import type { Log } from '../../lease/common/log.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Finding } from '../diagnose/doctor/finding.ts'

export interface HostWatchOptions {
  /** What doctor finds on this host now. Costs a dozen processes of some ms each. */
  readonly examine: (signal: AbortSignal) => Promise<readonly Finding[]>
  readonly onChange: () => void
  readonly log: Log
  readonly periodMs?: number
  /** A new finding counts where it is found again so much later: what is just being repaired is none. */
  readonly confirmMs?: number
}

/** After a change of the underlay the next ones follow at once. */
const SETTLE_MS = 1_000

/** What the agent says of itself at once, by other ways. */
const ownWord: ReadonlySet<string> = new Set(['readiness', 'agent', 'own lease', 'subnet file', 'drift'])

/**
 * Looks at the host as `twill doctor` does, from time to time and after changes of the underlay, and says each finding once:
 * when it appears and when it ends.
 */
export class HostWatch {
  readonly #options: Required<HostWatchOptions>
  readonly #said = new ReportOnce()
  readonly #wakeUp = new WakeUp()
  #findings: readonly Finding[] = []

  constructor(options: HostWatchOptions) {
    this.#options = { periodMs: 300_000, confirmMs: 5_000, ...options }
  }

  /** Those that stand. */
  get findings(): readonly Finding[] {
    return this.#findings
  }

  /** Looks soon: something on the host has changed. */
  review(): void {
    this.#wakeUp.set()
  }

  async run(signal: AbortSignal): Promise<never> {
    const { periodMs, confirmMs } = this.#options
    let candidates: ReadonlySet<string> = new Set()
    for (;;) {
      const found = await this.#look(signal)
      const confirmed = found.filter(one => candidates.has(one.check) || this.#stands(one))
      this.#settle(confirmed)
      const isUnsure = confirmed.length < found.length
      candidates = new Set(found.map(({ check }) => check))
      await this.#wakeUp.wait(isUnsure ? confirmMs : periodMs, signal)
      // Changes come in numbers: the look that they ask for waits for the last of them.
      if (!isUnsure) await sleep(Math.min(SETTLE_MS, periodMs), signal)
    }
  }

  async #look(signal: AbortSignal): Promise<readonly Finding[]> {
    try {
      return (await this.#options.examine(signal)).filter(({ check }) => !ownWord.has(check))
    } catch (error) {
      signal.throwIfAborted()
      this.#options.log.debug({ error }, 'this host could not be examined')
      return this.#findings
    }
  }

  #stands({ check }: Finding): boolean {
    return this.#findings.some(one => one.check === check)
  }

  #settle(findings: readonly Finding[]): void {
    const { log, onChange } = this.#options
    this.#findings = findings
    const byCheck = new Map(findings.map(one => [one.check, one]))
    const words = new Map(findings.map(one => [one.check, `${one.what} (${one.evidence})`]))
    const report = (check: string) => {
      const { what, evidence, cause, remedy } = byCheck.get(check) as Finding
      log.warn({ check, evidence, cause, remedy }, `${what}: ${remedy}`)
      onChange()
    }
    const over = (check: string) => {
      log.info({ check }, 'a trouble of this host is over')
      onChange()
    }
    this.#said.settle(words, report, over)
  }
}

/** What keeps pods from their peers, in words for /readyz. */
export function brokenByHost(findings: readonly Finding[]): readonly string[] {
  return findings
    .filter(({ severity }) => severity === 'broken')
    .map(({ what, evidence, remedy }) => `${what} (${evidence}): ${remedy}`)
}
