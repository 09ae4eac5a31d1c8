import type { Log } from '../../lease/common/log.ts'
import { MultiMap } from '../../lease/common/multi_map.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Finding } from '../diagnose/doctor/finding.ts'

export interface HostWatchOptions {
  /** Runs doctor's checks on this host. Costs a dozen processes of some ms each. */
  readonly examine: (signal: AbortSignal) => Promise<readonly Finding[]>
  readonly onChange: () => void
  readonly log: Log
  readonly periodMs?: number
  /** A new finding counts if it is found again after this time: a repair may be under way. */
  readonly confirmMs?: number
  /** How often a broken node is checked for recovery without an event. */
  readonly brokenMs?: number
}

/** Changes of the underlay come in bursts: wait this long for the rest. */
const SETTLE_MS = 1_000

/** Checks whose findings the agent itself reports, at once. */
const reportedElsewhere = ['readiness', 'agent', 'own lease', 'subnet file', 'drift', 'unseen']

/** Checks the host as `twill doctor` does, also after changes of the underlay; logs what is new. */
export class HostWatch {
  readonly #options: Required<HostWatchOptions>
  readonly #said = new ReportOnce()
  readonly #wakeUp = new WakeUp()
  #findings: readonly Finding[] = []

  constructor(options: HostWatchOptions) {
    this.#options = { periodMs: 300_000, confirmMs: 5_000, brokenMs: 10_000, ...options }
  }

  /** Current findings. */
  get findings(): readonly Finding[] {
    return this.#findings
  }

  /** Checks soon, after a change on the host. */
  review(): void {
    this.#wakeUp.set()
  }

  async run(signal: AbortSignal): Promise<never> {
    const { periodMs, confirmMs, brokenMs } = this.#options
    let candidates: ReadonlySet<string> = new Set()
    for (;;) {
      const found = await this.#look(signal)
      const confirmed = found.filter(one => candidates.has(one.check) || this.#isCurrent(one))
      this.#settle(confirmed)
      const hasUnconfirmed = confirmed.length < found.length
      candidates = new Set(found.map(({ check }) => check))
      // Ignore changes during this wait: a second check within the same burst of changes confirms nothing.
      if (hasUnconfirmed) await sleep(confirmMs, signal)
      else {
        const isBroken = brokenByHost(confirmed).length > 0
        await this.#wakeUp.wait(isBroken ? Math.min(brokenMs, periodMs) : periodMs, signal)
        // Changes come in bursts: check after the last of them.
        await sleep(Math.min(SETTLE_MS, periodMs), signal)
      }
    }
  }

  async #look(signal: AbortSignal): Promise<readonly Finding[]> {
    try {
      return (await this.#options.examine(signal)).filter(({ check }) => !reportedElsewhere.includes(check))
    } catch (error) {
      signal.throwIfAborted()
      this.#options.log.debug({ error }, 'this host could not be examined')
      return this.#findings
    }
  }

  #isCurrent({ check }: Finding): boolean {
    return this.#findings.some(one => one.check === check)
  }

  #settle(findings: readonly Finding[]): void {
    const { log, onChange } = this.#options
    this.#findings = findings
    const byCheck = new MultiMap<string, Finding>()
    for (const finding of findings) byCheck.add(finding.check, finding)
    for (const check of byCheck.keys()) {
      const all = byCheck.get(check)
      if (!this.#said.isNew(check, all.map(({ what, evidence }) => `${what} (${evidence})`).join('; ')))
        continue
      for (const { what, evidence, cause, remedy } of all)
        log.warn({ check, evidence, cause }, `${what}: ${remedy}`)
      onChange()
    }
    const over = (check: string) => {
      log.info({ check }, 'a trouble of this host is over')
      onChange()
    }
    this.#said.retain(new Set(byCheck.keys()), over)
  }
}

/** Why pods cannot reach their peers, as sentences for /readyz. */
export function brokenByHost(findings: readonly Finding[]): readonly string[] {
  return findings
    .filter(({ severity }) => severity === 'broken')
    .map(({ what, evidence, remedy }) => `${what} (${evidence}): ${remedy}`)
}
