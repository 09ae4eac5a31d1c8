/** One member of an etcd cluster, as the cluster knows it. */
export interface ClusterMember {
  /** A decimal number. */
  readonly id: string
  /** Empty until the member has run once. */
  readonly name: string
  readonly peerUrls: readonly string[]
  /** Empty until the member has run once. */
  readonly clientUrls: readonly string[]
  /** It receives the data but has no vote yet, and answers no client. */
  readonly isLearner: boolean
}

export interface MemberState {
  /** Size of its data file in bytes, and how many of them are in use. */
  readonly bytes: number
  readonly bytesInUse: number
  /** The file has reached its limit: etcd takes no writes until the alarm is cleared. */
  readonly isFull: boolean
}

/** The etcd cluster itself, not its keys: for the hosts that run its members. */
export interface EtcdCluster {
  ownId(signal: AbortSignal): Promise<string>
  members(signal: AbortSignal): Promise<readonly ClusterMember[]>
  /** Resolves to all members, with the new one, which has no name yet. */
  addLearner(peerUrl: string, signal: AbortSignal): Promise<readonly ClusterMember[]>
  promote(id: string, signal: AbortSignal): Promise<void>
  remove(id: string, signal: AbortSignal): Promise<void>
  movePeer(id: string, peerUrl: string, signal: AbortSignal): Promise<void>
  state(signal: AbortSignal): Promise<MemberState>
  /** Removes all revisions but the newest; `defragment` then gives the space back. */
  compact(signal: AbortSignal): Promise<void>
  /** Gives free space back to the file system. The member that answers serves no requests meanwhile. */
  defragment(signal: AbortSignal): Promise<void>
  /** Clears the alarms of the member that answers. */
  disarm(signal: AbortSignal): Promise<void>
  /** All data, as `etcdctl snapshot save` writes it. Throws where the snapshot is incomplete. */
  snapshot(signal: AbortSignal): AsyncIterable<Uint8Array>
  /** Tries again until it works. Rejects with the signal's reason. */
  until<T>(activity: string, act: () => Promise<T>, signal: AbortSignal): Promise<T>
  close(): void
}
