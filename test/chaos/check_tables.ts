import type { Happening, Promises, Rule, Violation } from './history.ts'
import { endOf, type Instance, startOf } from './instances.ts'
import { type AgentState, keysOverlap, State } from './state.ts'

/** The observer may hear of a removal after the agent did. */
const HEARING_MS = 3_000

/** The longest that an agent was wrong at a stretch between a healing and the next fault, in ms. */
export interface Agreement {
  readonly healedAt: number
  readonly agent: string
  readonly ms: number
}

export interface TableFindings {
  readonly violations: readonly Violation[]
  readonly agreements: readonly Agreement[]
}

interface Watched {
  readonly rule: Rule
  readonly boundMs: (promises: Promises) => number
  readonly trouble: (state: State, agent: AgentState, at: number) => string | undefined
}

/** What may be wrong for a while, and how long once all is healed. */
const watched: readonly Watched[] = [
  {
    rule: 'table',
    boundMs: ({ agreeMs }) => agreeMs,
    trouble: (state, agent, at) => state.tableTrouble(agent, at),
  },
  {
    rule: 'belief',
    boundMs: ({ agreeMs }) => agreeMs,
    trouble: (state, agent) => state.beliefTrouble(agent),
  },
  {
    rule: 'starved',
    boundMs: ({ agreeMs, ttlMs }) => agreeMs + ttlMs,
    trouble: (state, agent) => state.starving(agent),
  },
  {
    rule: 'two keys',
    boundMs: ({ agreeMs, ttlMs }) => agreeMs + 2 * ttlMs,
    trouble: (state, agent) => state.hasTwoKeys(agent),
  },
]

/** One thing that is wrong with one agent, since when, and whether that was reported. */
interface Stretch {
  readonly since: number
  readonly text: string
  reported: boolean
}

/** Goes through the history once and measures how long each agent was wrong while no fault was there to excuse it. */
export function checkTables(history: readonly Happening[], promises: Promises): TableFindings {
  const sweep = new Sweep(promises)
  for (const event of history) sweep.see(event)
  sweep.end()
  return { violations: sweep.violations, agreements: sweep.agreements }
}

class Sweep {
  readonly violations: Violation[] = []
  readonly agreements: Agreement[] = []
  readonly #promises: Promises
  readonly #state: State
  readonly #stretches = new Map<string, Stretch>()
  /** Undefined while there is a fault. */
  #healedAt: number | undefined = Number.NEGATIVE_INFINITY
  readonly #worst = new Map<string, number>()

  constructor(promises: Promises) {
    this.#promises = promises
    this.#state = new State(promises)
  }

  see(event: Happening): void {
    if (event.what === 'put' && this.#isRenewal(event)) return
    this.#state.apply(event)
    if (event.what === 'fault') {
      this.#conclude()
      this.#healedAt = undefined
      this.#stretches.clear()
    }
    if (event.what === 'healed') {
      this.#healedAt = event.at
      for (const one of this.#state.agents.values()) if (one.running) this.#worst.set(one.name, 0)
    }
    if (this.#healedAt === undefined) return
    if (event.what === 'slow') this.#stretches.clear()
    if ('agent' in event) this.#judge(this.#state.agent(event.agent), event.at)
    else for (const agent of this.#state.agents.values()) this.#judge(agent, event.at)
  }

  #isRenewal(event: Extract<Happening, { what: 'put' }>): boolean {
    const before = this.#state.standing.get(event.key)
    return before?.holder === event.holder && before.ip === event.ip && before.since === event.created
  }

  #judge(agent: AgentState, at: number): void {
    for (const { rule, boundMs, trouble } of watched) {
      const text = agent.running ? trouble(this.#state, agent, at) : undefined
      const name = `${rule} ${agent.name}`
      const before = this.#stretches.get(name)
      if (before && (rule === 'table' || rule === 'belief')) this.#wasWrong(agent, at - before.since)
      if (text === undefined) {
        this.#stretches.delete(name)
        continue
      }
      const stretch = before ?? { since: at, text, reported: false }
      this.#stretches.set(name, stretch)
      const bound = boundMs(this.#promises)
      if (at - stretch.since <= bound || stretch.reported) continue
      stretch.reported = true
      const long = `for more than ${bound / 1000} s with nothing wrong around it`
      this.violations.push({ at, rule, text: `${agent.name} ${text}, ${long}` })
    }
  }

  #wasWrong({ name }: AgentState, ms: number): void {
    const before = this.#worst.get(name)
    if (before !== undefined) this.#worst.set(name, Math.max(before, ms))
  }

  #conclude(): void {
    if (this.#healedAt !== undefined)
      for (const [agent, ms] of this.#worst) this.agreements.push({ healedAt: this.#healedAt, agent, ms })
    this.#worst.clear()
  }

  /** The measures of what comes after the last healing. */
  end(): void {
    this.#conclude()
  }
}

/** A peer left a table though its key stood in etcd, or though a wiped etcd gave no reason to doubt it. */
export function* checkVanished(
  history: readonly Happening[],
  instances: readonly Instance[],
  promises: Promises,
): Iterable<Violation> {
  const byKey = new Map<string, Instance[]>()
  for (const one of instances) byKey.set(one.key, [...(byKey.get(one.key) ?? []), one])
  const state = new State(promises)
  for (const event of history) {
    if (event.what === 'table')
      for (const key of event.removed) {
        const peer = state.agent(event.agent).table.get(key)
        if (peer === undefined) continue
        const lives = (byKey.get(key) ?? []).filter(({ created }) => created === peer.since)
        const excused = lives.some(
          life =>
            (life.deleted !== undefined && life.deleted.at < event.at + HEARING_MS) ||
            isForgotten(life, peer.ip, event.at, instances, promises),
        )
        if (excused) continue
        const text = `${event.agent} dropped ${key} of ${peer.holder}, which stood in etcd`
        yield { at: event.at, rule: 'vanished', text }
      }
    if (event.what === 'table' || event.what === 'ended' || event.what === 'failed') state.apply(event)
  }
}

/** After a loss of data: its grace is over, or another node claims the subnet or the address. */
function isForgotten(
  life: Instance,
  ip: string,
  at: number,
  instances: readonly Instance[],
  { graceMs }: Promises,
): boolean {
  if (life.wipedAt === undefined) return false
  if (at >= life.wipedAt + graceMs - HEARING_MS) return true
  return instances.some(
    other =>
      other.epoch > life.epoch &&
      startOf(other) < at + HEARING_MS &&
      endOf(other) > at - HEARING_MS - graceMs &&
      (other.puts.some(put => put.ip === ip) || keysOverlap(other.key, life.key)),
  )
}
