import type { Timing } from '../../lease/kubernetes/client/session.ts'
import { type KubernetesStore, openKubernetesStore } from '../../lease/kubernetes/store.ts'
import type { LeaseTableChange } from '../../lease/lease.ts'
import { printLease } from '../../lease/lease.ts'
import type { Ip } from '../../lease/net/ip.ts'
import { parseIp } from '../../lease/net/ip.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import type { KubernetesOptions } from '../../lease/options.ts'
import type { LeaseRequest } from '../../lease/store.ts'
import { ListLog } from './api_server_log.ts'
import { vtep } from './leases.ts'
import { until } from './until.ts'

/**
 * Short enough for a test, long enough to see whether the store keeps these times. The allowed silence is
 * long enough for a busy machine; a test about silence sets its own.
 */
export const testTiming: Timing = {
  pace: { minMs: 20, maxMs: 200 },
  answerWithinMs: 5_000,
  watchSilenceMs: 20_000,
  watchForMs: 60_000,
  joinsForMs: 5_000,
  cacheAfterMs: 100,
  sayAfterMs: 0,
  configEveryMs: 20,
  saveMs: 50,
}

/** An open store. `close` ends all that runs on it and closes it. */
export interface OpenStore {
  readonly store: KubernetesStore
  readonly log: ListLog
  readonly signal: AbortSignal
  close(): Promise<void>
}

export function openStore(options: KubernetesOptions, timing: Partial<Timing> = {}): OpenStore {
  const log = new ListLog()
  const store = openKubernetesStore(options, log, { ...testTiming, ...timing })
  const life = new AbortController()
  return {
    store,
    log,
    signal: life.signal,
    async close() {
      life.abort(new Error('the test is over'))
      await store.close()
    },
  }
}

/** A vxlan request with these public IPs, one for each family of the network. */
export function requestFor(
  network: NetworkConfig,
  publicIps: readonly string[],
  mac = '02:00:00:00:00:01',
): LeaseRequest {
  return {
    network,
    publicIps: publicIps.map((ip): Ip => parseIp(ip)),
    previousSubnets: [],
    backendType: 'vxlan',
    backendData: () => publicIps.map(() => vtep(mac)),
  }
}

/** Collects the changes of a watch, and waits for later ones. */
export class Watching {
  readonly changes: LeaseTableChange[] = []
  failure: unknown
  readonly #running: Promise<void>

  constructor(changes: AsyncIterable<LeaseTableChange>) {
    this.#running = this.#run(changes)
  }

  async #run(changes: AsyncIterable<LeaseTableChange>): Promise<void> {
    try {
      for await (const change of changes) this.changes.push(change)
    } catch (error) {
      this.failure = error
    }
  }

  /** One line for each lease, of nodes whose name matches: `n1 vxlan 10.244.1.0/24 at 192.168.0.1`. */
  lines(pattern = /./): string[] {
    const leases = [...(this.changes.at(-1)?.table.values() ?? [])].filter(lease => pattern.test(lease.node))
    return leases.map(lease => `${lease.node} ${lease.backendType} ${printLease(lease)}`).toSorted()
  }

  problems(): string[] {
    return (this.changes.at(-1)?.problems ?? []).map(({ key, reason }) => `${key}: ${reason}`)
  }

  async until(what: string, condition: (watching: Watching) => boolean): Promise<void> {
    const otherwise = () => [...this.lines(), ...this.problems()].join('\n')
    await until(what, () => condition(this), { otherwise })
  }

  async lines_are(expected: readonly string[], pattern = /./): Promise<void> {
    await this.until(expected.join(' | '), () => this.lines(pattern).join('\n') === expected.join('\n'))
  }

  /** Resolves when the watch has ended, after the store was closed. */
  async ended(): Promise<void> {
    await this.#running
  }
}
