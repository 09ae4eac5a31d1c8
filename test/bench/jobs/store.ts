import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from '../../../lease/etcd/client/connection.ts'
import { type KeyRange, keysUnder } from '../../../lease/etcd/client/keys.ts'
import { defaultTuning } from '../../../lease/etcd/client/tuning.ts'
import { etcdOptions } from '../../support/etcd_bed.ts'
import { hostileChange } from '../../support/hostile_changes.ts'
import { RecordingLog } from '../../support/log.ts'
import type { StoredLease } from '../peers.ts'
import { wallClock } from '../wall_clock.ts'

/** etcd's default limit of a transaction (--max-txn-ops). */
const BATCH = 128

/** When a key was written and when a bare watcher heard of it: Unix time in ms. */
export interface Written {
  readonly putMs: number
  readonly answeredMs: number
  readonly watchedMs: number
}

/** Writes leases as fast as etcd takes them, and says when. */
export interface StoreJob {
  readonly [act: string]: (...words: never[]) => unknown
  open(endpoint: string, folder: string): Promise<void>
  put(leases: readonly StoredLease[]): Promise<void>
  remove(keys: readonly string[]): Promise<void>
  clear(): Promise<void>
  /** One change, with our own watcher as the measure. */
  time(lease: StoredLease, remove: boolean): Promise<Written>
  /** Hostile changes at this rate for so long. Returns how many were made. */
  flood(perSecond: number, durationMs: number): Promise<number>
}

export function storeJob(): StoreJob {
  let connection: Connection
  let folder = ''
  const heard = new Map<string, (atMs: number) => void>()

  async function watch(range: KeyRange): Promise<void> {
    for await (const { puts, deletes } of connection.watch(range, 0, new AbortController().signal)) {
      const atMs = wallClock()
      for (const key of [...puts.map(kv => kv.key), ...deletes]) heard.get(key)?.(atMs)
    }
  }

  const change = ({ key, value }: StoredLease, remove: boolean) =>
    remove ? { remove: `${folder}${key}` } : { put: `${folder}${key}`, value, leaseId: '0' }

  async function commit(leases: readonly StoredLease[], remove: boolean): Promise<void> {
    for (let at = 0; at < leases.length; at += BATCH) {
      const changes = leases.slice(at, at + BATCH).map(lease => change(lease, remove))
      await connection.commit({ conditions: [], changes })
    }
  }

  return {
    async open(endpoint, under) {
      folder = under
      connection = await Connection.open(
        endpoint,
        etcdOptions([endpoint], ''),
        defaultTuning,
        new RecordingLog(),
      )
      watch(keysUnder(folder)).catch(() => {})
    },
    put: leases => commit(leases, false),
    async flood(perSecond, durationMs) {
      const started = performance.now()
      let made = 0
      for (let passed = 0; passed < durationMs; passed = performance.now() - started) {
        const due = Math.min(made + BATCH, Math.floor((passed * perSecond) / 1_000))
        // One transaction takes a key once.
        const batch = new Map<string, string | undefined>()
        for (; made < due; made++) {
          const { key, value } = hostileChange(made)
          batch.set(`${folder}${key}`, value)
        }
        if (batch.size === 0) {
          await sleep(5)
          continue
        }
        const changes = Array.from(batch, ([key, value]) =>
          value === undefined ? { remove: key } : { put: key, value, leaseId: '0' },
        )
        await connection.commit({ conditions: [], changes })
      }
      return made
    },
    remove: keys =>
      commit(
        keys.map(key => ({ key, value: '' })),
        true,
      ),
    async clear() {
      const { kvs } = await connection.range(keysUnder(folder), kv => kv)
      await commit(
        kvs.map(({ key }) => ({ key: key.slice(folder.length), value: '' })),
        true,
      )
    },
    async time(lease, remove) {
      const watched = new Promise<number>(resolve => heard.set(`${folder}${lease.key}`, resolve))
      const putMs = wallClock()
      await connection.commit({ conditions: [], changes: [change(lease, remove)] })
      const answeredMs = wallClock()
      const watchedMs = await watched
      heard.delete(`${folder}${lease.key}`)
      return { putMs, answeredMs, watchedMs }
    },
  }
}
