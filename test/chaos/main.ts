import { writeFileSync } from 'node:fs'
import { helpFor } from '../support/help.ts'
import { enterOwnNetns } from '../support/own_netns.ts'
import { check, type Verdict } from './check.ts'
import { measureChurn } from './churn.ts'
import { followChurn } from './churn_child.ts'
import { keepHouse } from './house_child.ts'
import { type ChaosOptions, parseOptions, UsageError, usage } from './options.ts'
import { showBeginning, showRound, showVerdict, showViolations } from './report.ts'
import { playRounds } from './rounds.ts'
import { Stage } from './stage.ts'

/** Far below the time that a lease has left when it is renewed. */
const LONGEST_CHECK_MS = 200

/** Exit code. */
async function main(): Promise<number> {
  const words = process.argv.slice(2)
  if (words[0] === '--churn-child') return followChurn(words[1] ?? '')
  if (words[0] === '--house') return keepHouse()
  const help = helpFor(words, usage)
  if (help !== undefined) {
    process.stdout.write(help)
    return 0
  }
  const options = parseOptions(words)
  if (options.churn) return measureChurn(options)
  const why = await enterOwnNetns()
  if (why !== undefined) throw new UsageError(why)
  return play(options)
}

async function play(options: ChaosOptions): Promise<number> {
  const stage = await Stage.create(options)
  const stop = new AbortController()
  let rounds = 0
  let shown = 0
  const judge = (): Verdict => {
    const verdict = check(stage.history, stage.promises)
    showViolations(verdict.violations.slice(shown))
    shown = verdict.violations.length
    return verdict
  }
  try {
    showBeginning(stage)
    let tookMs = 0
    for await (const round of playRounds(stage, stop.signal)) {
      rounds++
      showRound(round)
      // The agents of this process stand still meanwhile: a long history is judged in the end alone.
      if (tookMs > LONGEST_CHECK_MS) continue
      const startedAt = performance.now()
      judge()
      tookMs = performance.now() - startedAt
    }
  } finally {
    await stage.dispose()
    if (options.historyFile !== undefined) writeHistory(stage, options.historyFile)
  }
  return showVerdict(stage, judge(), rounds) ? 0 : 1
}

function writeHistory(stage: Stage, file: string): void {
  const lines = [...stage.history, ...stage.logged].sort((a, b) => a.at - b.at)
  writeFileSync(file, lines.map(line => `${JSON.stringify(line)}\n`).join(''))
}

main().then(
  code => process.exit(code),
  error => {
    const usage = error instanceof UsageError
    process.stderr.write(`chaos: ${usage ? error.message : String(error.stack ?? error).slice(0, 4000)}\n`)
    process.exit(usage ? 2 : 1)
  },
)
