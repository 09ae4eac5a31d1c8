import { overlaps } from '../../lease/net/prefix.ts'
import { decodeSubnetKey } from '../../lease/wire.ts'
import type { Happening, Peer, Promises } from './history.ts'

export interface AgentState {
  readonly name: string
  readonly table: Map<string, Peer>
  running: boolean
  /** Key that it takes for its own. */
  believes: string | undefined
  /** Key that it was told it has lost. */
  lost: string | undefined
}

/** The world at one time, folded from happenings: used live to see whether all has settled, and again by the checker. */
export class State {
  readonly standing = new Map<string, Peer>()
  readonly agents = new Map<string, AgentState>()
  readonly #promises: Promises
  epoch = 0
  resetAt = Number.NEGATIVE_INFINITY

  constructor(promises: Promises) {
    this.#promises = promises
  }

  apply(event: Happening): void {
    switch (event.what) {
      case 'put':
        if (event.epoch === this.epoch)
          this.standing.set(event.key, {
            key: event.key,
            since: event.created,
            holder: event.holder,
            ip: event.ip,
          })
        return
      case 'delete':
        if (event.epoch === this.epoch) this.standing.delete(event.key)
        return
      case 'reset':
        this.epoch = event.epoch
        this.resetAt = event.at
        this.standing.clear()
        return
      case 'operator':
      case 'fault':
      case 'healed':
      case 'slow':
        return
      default:
        this.#applyAgent(event)
    }
  }

  #applyAgent(event: Extract<Happening, { agent: string }>): void {
    const agent = this.agent(event.agent)
    switch (event.what) {
      case 'started':
        agent.running = true
        agent.lost = undefined
        return
      case 'acquired':
        agent.believes = event.key
        agent.lost = undefined
        return
      case 'lost':
        agent.believes = undefined
        agent.lost = event.key
        return
      case 'ended':
      case 'failed':
        agent.running = false
        agent.believes = undefined
        agent.table.clear()
        return
      case 'table':
        for (const key of event.removed) agent.table.delete(key)
        for (const peer of event.set) agent.table.set(peer.key, peer)
        return
      case 'calls':
    }
  }

  agent(name: string): AgentState {
    const agent = this.agents.get(name) ?? {
      name,
      table: new Map(),
      running: false,
      believes: undefined,
      lost: undefined,
    }
    this.agents.set(name, agent)
    return agent
  }

  /** How the agent's table differs from etcd, in words; undefined where it does not. */
  tableTrouble(agent: AgentState, at: number): string | undefined {
    for (const { key, since, holder, ip } of this.standing.values()) {
      const peer = agent.table.get(key)
      if (peer === undefined) return `lacks ${key} of ${holder}`
      if (peer.since !== since || peer.holder !== holder || peer.ip !== ip)
        return (
          `has ${key} of ${peer.holder} at ${peer.ip} since ${peer.since}, ` +
          `etcd of ${holder} at ${ip} since ${since}`
        )
    }
    for (const { key, holder, ip } of agent.table.values())
      if (!this.standing.has(key) && !this.#mayBeRemembered(key, ip, at))
        return `has ${key} of ${holder}, which is not in etcd`
    return undefined
  }

  /** After a loss of data what etcd knew may be believed in until a claim contradicts it. */
  #mayBeRemembered(key: string, ip: string, at: number): boolean {
    return at <= this.resetAt + this.#promises.graceMs && this.contradicting(key, ip) === undefined
  }

  /** A standing lease that claims part of that key's subnets, or its holder's address under another key. */
  contradicting(key: string, ip: string): Peer | undefined {
    for (const peer of this.standing.values()) if (peer.ip === ip || keysOverlap(peer.key, key)) return peer
    return undefined
  }

  /** What the agent takes for its own and is not. */
  beliefTrouble({ name, believes }: AgentState): string | undefined {
    if (believes === undefined) return undefined
    const holder = this.standing.get(believes)?.holder
    if (holder === name) return undefined
    return `believes in ${believes}, ${holder === undefined ? 'which is not in etcd' : `which is held by ${holder}`}`
  }

  /** Has no subnet although there are free ones, and is not waiting for the return of one that another took. */
  starving({ name, believes, lost }: AgentState): string | undefined {
    if (believes !== undefined || this.standing.size >= this.#promises.subnets) return undefined
    const holder = lost === undefined ? undefined : this.standing.get(lost)?.holder
    if (holder !== undefined && holder !== name) return undefined
    return `has no subnet, with ${this.#promises.subnets - this.standing.size} free`
  }

  hasTwoKeys({ name }: AgentState): string | undefined {
    const keys = [...this.standing.values()].filter(peer => peer.holder === name).map(peer => peer.key)
    return keys.length > 1 ? `stands under ${keys.join(' and ')}` : undefined
  }

  /** Undefined when all is right; else the first trouble. */
  trouble(at: number): string | undefined {
    for (const agent of this.agents.values()) {
      if (!agent.running) continue
      const trouble = this.tableTrouble(agent, at) ?? this.beliefTrouble(agent)
      if (trouble !== undefined) return `${agent.name} ${trouble}`
    }
    return undefined
  }
}

const known = new Map<string, boolean>()

/** Whether two subnet keys have an address in common. */
export function keysOverlap(a: string, b: string): boolean {
  if (a === b) return true
  const pair = a < b ? `${a} ${b}` : `${b} ${a}`
  const before = known.get(pair)
  if (before !== undefined) return before
  const theirs = decodeSubnetKey(b)
  const overlapping = decodeSubnetKey(a).some(ours => theirs.some(other => overlaps(ours, other)))
  known.set(pair, overlapping)
  return overlapping
}
