import { WakeUp } from '../common/wake_up.ts'
import type { Lease } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import { ask, writeOf } from './ask.ts'
import type { EtcdContext } from './context.ts'
import { describeLease } from './describe.ts'
import { oneKey } from './keys.ts'
import { isHeldBy } from './record.ts'

const CONFLICT = 'public IP'
const ACTIVITY = 'look for other hosts with our public IP'
/** So many leases with our public IP are asked about in one round. */
const ASKED = 8

/**
 * Other leases that bear our public IP. Most are left over from a node that had the address before, and harm nobody. Where
 * the agent of one answers, two hosts have one address: that is reported for as long as it answers.
 */
export class Namesakes {
  readonly #ctx: EtcdContext
  readonly #own: () => Lease
  readonly #publicIps: readonly Ip[]
  readonly #due = new WakeUp()
  /** Keys whose agent did not answer, with what it had written last. */
  readonly #silent = new Map<string, string>()
  /** Names of the leases with our public IP, as far as they were seen. */
  #known = new Set<string>()

  constructor(ctx: EtcdContext, own: () => Lease, publicIps: readonly Ip[]) {
    this.#ctx = ctx
    this.#own = own
    this.#publicIps = publicIps
  }

  /** Until the signal aborts; rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { patience, tuning, conflicts } = this.#ctx
    this.#ctx.onReading = reading => {
      if ('node' in reading && this.#isNews(reading)) this.#due.set()
    }
    this.#ctx.onGone = node => {
      if (this.#known.delete(node)) this.#due.set()
    }
    try {
      for (;;) {
        const alive = await patience.until(ACTIVITY, () => this.#findAlive(signal), signal)
        this.#report(alive)
        await this.#due.wait(tuning.checkMs, signal)
      }
    } finally {
      this.#ctx.onReading = () => {}
      this.#ctx.onGone = () => {}
      conflicts.delete(CONFLICT)
    }
  }

  /** The answer of an agent is no reason to ask it again: two hosts would ask each other without a pause. */
  #isNews(lease: Lease): boolean {
    const { node } = lease
    const isNamesake = this.#isNamesake(lease)
    const wasKnown = this.#known.has(node)
    if (isNamesake) this.#known.add(node)
    else this.#known.delete(node)
    return isNamesake !== wasKnown || (isNamesake && this.#silent.has(this.#ctx.folder + node))
  }

  #isNamesake(lease: Lease): boolean {
    return lease.node !== this.#own().node && lease.backendType !== '' && isHeldBy(lease, this.#publicIps)
  }

  async #findAlive(signal: AbortSignal): Promise<Lease | undefined> {
    const others = this.#ctx.recall.leases.filter(lease => this.#isNamesake(lease))
    this.#known = new Set(others.map(lease => lease.node))
    for (const lease of others.slice(0, ASKED)) if (await this.#isAlive(lease, signal)) return lease
    return undefined
  }

  async #isAlive({ node }: Lease, signal: AbortSignal): Promise<boolean> {
    const key = this.#ctx.folder + node
    const [kv] = (await this.#ctx.client.range(oneKey(key), signal)).kvs
    if (kv === undefined || this.#silent.get(key) === writeOf(kv)) return false
    const answer = await ask(this.#ctx, kv, signal)
    if (answer === undefined) {
      this.#due.set()
      return false
    }
    if (answer.isAlive) this.#silent.delete(key)
    else this.#silent.set(key, writeOf(kv))
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
