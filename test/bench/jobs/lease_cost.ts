import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EtcdTuning } from '../../../lease/etcd/client/tuning.ts'
import { type EtcdLeaseStore, openEtcdStore } from '../../../lease/etcd/store.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import type { LeaseRequest } from '../../../lease/store.ts'
import { etcdOptions } from '../../support/etcd_bed.ts'
import { mapBounded } from '../../support/exec.ts'
import { vtep } from '../../support/leases.ts'
import { until } from '../../support/until.ts'
import { madeUpPeer } from '../peers.ts'

const TAKE_MS = 500

/** What etcd has counted since it started. */
export interface Counted {
  /** Calls and streams begun, by method. */
  readonly calls: Readonly<Record<string, number>>
  /** To and from its clients. */
  readonly sentBytes: number
  readonly receivedBytes: number
}

/** The lease layers of many agents in one process, each with a store and connections of its own. */
export interface LeaseCostJob {
  readonly [act: string]: (...words: never[]) => unknown
  open(endpoint: string, prefix: string): void
  /** Starts so many more; resolves when each has heard of all. */
  start(agents: number): Promise<void>
  /** Starts one whose lease lasts so many seconds, two thirds of which pass between renewals. */
  startShortLived(ttlSeconds: number): Promise<void>
  counted(): Promise<Counted>
}

export function leaseCostJob(): LeaseCostJob {
  let endpoint = ''
  let prefix = ''
  const tables: { size: number }[] = []
  const noSignal = new AbortController().signal
  const log = { trace() {}, debug() {}, info() {}, warn() {}, error: console.error }

  setMaxListeners(0, noSignal)

  async function startOne(tuning: Partial<EtcdTuning>, renewMarginMs: number): Promise<void> {
    const number = tables.push({ size: 0 }) - 1
    // Reads of the own key that only time asks for would blur what is counted.
    const quiet = { checkMs: 1e9, relistMs: 2e9, ...tuning }
    const store = openEtcdStore(etcdOptions([endpoint], prefix, { renewMarginMs }), log, quiet)
    const request = await claimed(store, number)
    void store.keep(request, noSignal)
    void follow(store, number)
  }

  async function claimed(store: EtcdLeaseStore, number: number) {
    const network = await store.networkConfig(noSignal)
    const request: LeaseRequest = {
      network,
      publicIps: [parseIp(madeUpPeer(number).publicIp)],
      previousSubnets: [],
      backendType: 'vxlan',
      backendData: () => [vtep(madeUpPeer(number).mac)],
    }
    return await store.acquire(request, noSignal)
  }

  async function follow(store: EtcdLeaseStore, number: number): Promise<void> {
    for await (const { table } of store.watch(noSignal)) {
      const own = tables[number]
      if (own !== undefined) own.size = table.size
      // Each takes a whole table: a thousand agents in one process would do nothing else.
      await sleep(TAKE_MS)
    }
  }

  async function settled(): Promise<void> {
    const all = () => tables.every(({ size }) => size >= tables.length)
    await until('every agent to know of all', all, { withinMs: 300_000, everyMs: 50 })
    // The last key's own watch is opened beside the rest.
    await sleep(2 * TAKE_MS)
  }

  return {
    open(at, under) {
      endpoint = at
      prefix = under
    },
    async start(agents) {
      const items = Array.from({ length: agents })
      await mapBounded(items, 20, () => startOne({}, 3_600_000))
      await settled()
    },
    async startShortLived(ttlSeconds) {
      await startOne({ ttlSeconds }, (ttlSeconds * 1000) / 3)
      await settled()
    },
    async counted() {
      const text = await (await fetch(`${endpoint}/metrics`)).text()
      const calls: Record<string, number> = {}
      const started = /^grpc_server_started_total\{grpc_method="(\w+)".*\} (\S+)$/gm
      // Several services have a method of one name.
      for (const [, method = '', count] of text.matchAll(started))
        calls[method] = (calls[method] ?? 0) + Number(count)
      const sum = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
      return {
        calls,
        sentBytes: sum('etcd_network_client_grpc_sent_bytes_total'),
        receivedBytes: sum('etcd_network_client_grpc_received_bytes_total'),
      }
    },
  }
}
