import { WakeUp } from '../../common/wake_up.ts'
import type { Lease } from '../../lease.ts'
import type { Ip } from '../../net/ip.ts'
import { oneKey } from '../client/keys.ts'
import type { EtcdContext } from '../records/context.ts'
import { isHeldBy } from '../records/record.ts'
import { ask, writeOf } from './ask.ts'
import { describeLease } from './describe.ts'

const CONFLICT = 'public IP'
const ACTIVITY = 'look for other hosts with our public IP'
/** Most leases with our public IP that are asked about in one round. */
const ASKED = 8

/**
 * Other leases with our public IP. Most were left by an earlier node at the address. Where an agent of one
 * answers, two hosts have one address: this is reported while it answers.
 */
export class Namesakes {
  readonly #ctx: EtcdContext
  readonly #own: () => Lease
  readonly #publicIps: readonly Ip[]
  readonly #due = new WakeUp()
  /** Keys in `#known` whose agent did not answer, with its write at that time (see `writeOf`). */
  readonly #silent = new Map<string, string>()
  /**
   * Leases with our public IP, by node, the next one to ask first; kept by events, as the table has thousands
   * of other leases.
   */
  #known = new Map<string, Lease>()
  /** Our own node's name when `#known` was last read from the whole table. */
  #readAs: string | undefined

  constructor(ctx: EtcdContext, own: () => Lease, publicIps: readonly Ip[]) {
    this.#ctx = ctx
    this.#own = own
    this.#publicIps = publicIps
  }

  async run(signal: AbortSignal): Promise<never> {
    const { retrier, tuning, conflicts } = this.#ctx
    this.#ctx.onLease = lease => {
      if (this.#isNews(lease)) this.#due.set()
    }
    this.#ctx.onGone = node => {
      if (this.#forget(node)) this.#due.set()
    }
    try {
      for (;;) {
        const alive = await retrier.until(ACTIVITY, () => this.#findAlive(signal), signal)
        this.#report(alive)
        await this.#due.wait(tuning.checkMs, signal)
      }
    } finally {
      this.#ctx.onLease = () => {}
      this.#ctx.onGone = () => {}
      conflicts.delete(CONFLICT)
    }
  }

  /** A reason to look again. An agent's answer is none: two hosts would ask each other without a pause. */
  #isNews(lease: Lease): boolean {
    const { node } = lease
    const isNamesake = this.#isNamesake(lease)
    const wasKnown = this.#known.has(node)
    if (isNamesake) this.#known.set(node, lease)
    else this.#forget(node)
    return isNamesake !== wasKnown || (isNamesake && this.#silent.has(this.#ctx.folder + node))
  }

  #forget(node: string): boolean {
    const wasKnown = this.#known.delete(node)
    if (wasKnown) this.#silent.delete(this.#ctx.folder + node)
    return wasKnown
  }

  #isNamesake(lease: Lease): boolean {
    return lease.node !== this.#own().node && lease.backendType !== '' && isHeldBy(lease, this.#publicIps)
  }

  async #findAlive(signal: AbortSignal): Promise<Lease | undefined> {
    const own = this.#own().node
    if (own !== this.#readAs) {
      const others = this.#ctx.lastSeen.leases.filter(lease => this.#isNamesake(lease))
      this.#known = new Map(others.map(lease => [lease.node, lease]))
      this.#readAs = own
    }
    for (const lease of [...this.#known.values()].slice(0, ASKED)) {
      if (await this.#isAlive(lease, signal)) return lease
      this.#askLast(lease.node)
    }
    return undefined
  }

  /** The next round begins with those that this one did not ask. One that answered stays the first. */
  #askLast(node: string): void {
    const lease = this.#known.get(node)
    if (lease === undefined) return
    this.#known.delete(node)
    this.#known.set(node, lease)
  }

  async #isAlive({ node }: Lease, signal: AbortSignal): Promise<boolean> {
    const key = this.#ctx.folder + node
    const [kv] = (await this.#ctx.client.range(oneKey(key), signal)).kvs
    if (kv === undefined) this.#forget(node)
    if (kv === undefined || this.#silent.get(key) === writeOf(kv)) return false
    const answer = await ask(this.#ctx, kv, signal)
    if (answer === undefined) {
      this.#due.set()
      return false
    }
    if (answer.isAlive) this.#silent.delete(key)
    else if (this.#known.has(node)) this.#silent.set(key, writeOf(kv))
    return answer.isAlive
  }

  #report(other: Lease | undefined): void {
    const { conflicts, log } = this.#ctx
    const before = conflicts.get(CONFLICT)
    if (other === undefined) {
      if (conflicts.delete(CONFLICT)) log.info({}, 'No other host has our public IP any more')
      return
    }
    const text =
      `another host has our public IP: ${describeLease(other)}, and its agent runs; ` +
      'give one of the two another address (--public-ip, --iface)'
    conflicts.set(CONFLICT, text)
    if (before !== text) log.error({ key: other.node }, text)
  }
}
