import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../support/until.ts'
import { watchMachine } from './control.ts'
import type { Fault } from './fault.ts'
import { faults } from './faults.ts'
import { Flanneld } from './foreign.ts'
import { healAll } from './heal.ts'
import type { Stage } from './stage.ts'

/** Where the machine is slow all the time. */
const LONGEST_SETTLING_MS = 60_000

export interface Round {
  readonly number: number
  /** Names of what was done, and to whom. */
  readonly struck: readonly string[]
  readonly faultMs: number
  /** From the moment etcd and the network were whole until all tables and beliefs were true; undefined: they did not get so. */
  readonly settledMs: number | undefined
  /** What was wrong still where it did not settle. */
  readonly trouble: string | undefined
}

/** Faults, healing, settling, again and again until the time is over. */
export async function* playRounds(stage: Stage, signal: AbortSignal): AsyncGenerator<Round> {
  const all = faults(stage.options)
  const stop = new AbortController()
  const { flannelds } = stage.options
  const foreign = Array.from({ length: flannelds }, (_, i) => new Flanneld(stage, `203.0.113.${100 + i}`))
  const running = [...foreign.map(one => one.run(stop.signal)), watchMachine(stage, stop.signal)]
  const counting = setInterval(() => {
    for (const citizen of stage.citizens) citizen.countCalls()
  }, 500)
  try {
    await until('every agent to get a subnet', () => stage.isFull, { withinMs: 180_000 })
    await settled(stage)
    const end = performance.now() + stage.options.minutes * 60_000
    for (let number = 1; performance.now() < end && !signal.aborted; number++)
      yield await playRound(stage, all, number)
    // Whatever is left over from lives that ended runs out by itself.
    await sleep(3 * stage.promises.ttlMs)
  } finally {
    clearInterval(counting)
    stop.abort()
    await Promise.all(running)
  }
}

async function playRound(stage: Stage, all: readonly Fault[], number: number): Promise<Round> {
  const { random } = stage
  const startedAt = performance.now()
  const struck: string[] = []
  await stage.takeSnapshot()
  for (let count = random.whole(1, 3); count > 0; count--) {
    await strike(stage, draw(stage, all), struck)
    await sleep(random.whole(0, 1_500))
  }
  // Most are short; some outlive the leases.
  const ms = random.chance(0.35) ? random.whole(4_000, 8_000) : random.whole(300, 3_000)
  await sleep(ms)
  const healedAt = await healAll(stage)
  const trouble = await settled(stage)
  const settledMs = trouble === undefined ? performance.now() - healedAt : undefined
  await sleep(random.whole(200, 1_500))
  return { number, struck, faultMs: healedAt - startedAt, settledMs, trouble }
}

/** What was drawn is drawn less often from then on, so that a short run sees many kinds. */
function draw({ random, history }: Stage, all: readonly Fault[]): Fault {
  const drawn = new Map<string, number>()
  for (const event of history)
    if (event.what === 'fault' && !event.away) drawn.set(event.name, (drawn.get(event.name) ?? 0) + 1)
  const hand = all.map(fault => ({ fault, weight: fault.weight / 3 ** (drawn.get(fault.name) ?? 0) }))
  return random.weighted(hand).fault
}

async function strike(stage: Stage, fault: Fault, struck: string[]): Promise<void> {
  const { name, ofEtcd = false } = fault
  stage.record({ what: 'fault', at: performance.now(), name, ofEtcd, away: false })
  try {
    struck.push(`${name} (${await fault.strike(stage)})`)
    if (fault.away) stage.record({ what: 'fault', at: performance.now(), name, ofEtcd, away: true })
  } catch (error) {
    struck.push(`${name} in vain (${error instanceof Error ? error.message.slice(0, 80) : error})`)
  }
}

/** Waits until everything is as it should be; what is wrong still when the checker would complain. */
async function settled(stage: Stage): Promise<string | undefined> {
  const { state, promises } = stage
  const startedAt = performance.now()
  const longest = startedAt + LONGEST_SETTLING_MS
  for (;;) {
    const now = performance.now()
    const trouble = state.trouble(now)
    const end = Math.max(startedAt, stage.slowAt) + promises.agreeMs + promises.ttlMs
    if (trouble === undefined || now > Math.min(end, longest)) return trouble
    await sleep(20)
  }
}
