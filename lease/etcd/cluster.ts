import { createHash } from 'node:crypto'
import type { ClusterMember, EtcdCluster, MemberState } from '../cluster.ts'
import { messageOf } from '../common/errors.ts'
import type { Log } from '../common/log.ts'
import type { Retrier } from '../common/retry.ts'
import type { EtcdOptions } from '../options.ts'
import { EtcdClient } from './client/client.ts'
import { etcdError } from './client/error.ts'
import { openRetrier } from './client/retrier.ts'
import { defaultTuning } from './client/tuning.ts'
import { readMembers } from './members.ts'

/** etcd answers a change of the members only once it is applied. */
const CALL_MS = 15_000
const CHECKSUM_BYTES = 32

export class ClusterClient implements EtcdCluster {
  readonly #client: EtcdClient
  readonly #retrier: Retrier

  constructor(options: EtcdOptions, log: Log) {
    const tuning = { ...defaultTuning, callTimeoutMs: CALL_MS }
    this.#client = new EtcdClient(options, tuning, log)
    this.#retrier = openRetrier(this.#client.endpoints.length, tuning, log)
  }

  async ownId(signal: AbortSignal): Promise<string> {
    return (await this.#status(signal)).header.member_id
  }

  members(signal: AbortSignal): Promise<readonly ClusterMember[]> {
    return readMembers(this.#client, signal)
  }

  async addLearner(peerUrl: string, signal: AbortSignal): Promise<readonly ClusterMember[]> {
    const added = { peerURLs: [peerUrl], isLearner: true }
    await this.#client.admin(({ cluster }) => cluster.memberAdd(added), signal)
    return await this.members(signal)
  }

  async promote(id: string, signal: AbortSignal): Promise<void> {
    await this.#client.admin(({ cluster }) => cluster.memberPromote({ ID: id }), signal)
  }

  async remove(id: string, signal: AbortSignal): Promise<void> {
    await this.#client.admin(({ cluster }) => cluster.memberRemove({ ID: id }), signal)
  }

  async movePeer(id: string, peerUrl: string, signal: AbortSignal): Promise<void> {
    const moved = { ID: id, peerURLs: [peerUrl] }
    await this.#client.admin(({ cluster }) => cluster.memberUpdate(moved), signal)
  }

  async state(signal: AbortSignal): Promise<MemberState> {
    const { dbSize, dbSizeInUse, errors } = await this.#status(signal)
    const isFull = errors.some(text => /NOSPACE/.test(text))
    return { bytes: Number(dbSize), bytesInUse: Number(dbSizeInUse), isFull }
  }

  async compact(signal: AbortSignal): Promise<void> {
    const { revision } = (await this.#status(signal)).header
    try {
      await this.#client.admin(({ kv }) => kv.compact({ revision, physical: true }), signal)
    } catch (error) {
      if (!/required revision has been compacted/.test(messageOf(error))) throw error
    }
  }

  async defragment(signal: AbortSignal): Promise<void> {
    await this.#client.admin(({ maintenance }) => maintenance.defragment(), signal)
  }

  async disarm(signal: AbortSignal): Promise<void> {
    const memberID = await this.ownId(signal)
    const cleared = { action: 'Deactivate', alarm: 'Nospace', memberID } as const
    await this.#client.admin(({ maintenance }) => maintenance.alarm(cleared), signal)
  }

  /** The last 32 bytes are a checksum of all before (etcdserver/api/v3rpc/maintenance.go). */
  async *snapshot(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256')
    let tail: Buffer = Buffer.alloc(0)
    for await (const blob of this.#client.snapshot(signal)) {
      const all = Buffer.concat([tail, blob])
      const rest = Math.max(0, all.length - CHECKSUM_BYTES)
      hash.update(all.subarray(0, rest))
      tail = all.subarray(rest)
      yield blob
    }
    if (!hash.digest().equals(tail)) throw etcdError('the snapshot did not come whole', this.#client.endpoint)
  }

  until<T>(activity: string, act: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#retrier.until(activity, act, signal)
  }

  close(): void {
    this.#client.close()
  }

  #status(signal: AbortSignal) {
    return this.#client.admin(({ maintenance }) => maintenance.status(), signal)
  }
}
