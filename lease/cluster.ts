/** One member of an etcd cluster, as the cluster knows it. */
export interface ClusterMember {
  /** A decimal number. */
  readonly id: string
  /** Empty while it has never run. */
  readonly name: string
  readonly peerUrls: readonly string[]
  /** Empty while it has never run. */
  readonly clientUrls: readonly string[]
  /** It receives the data but has no vote yet, and answers no client. */
  readonly isLearner: boolean
}

/** Of the member that answers. */
export interface MemberState {
  /** Size of its data file, and how much of it is not free. */
  readonly bytes: number
  readonly bytesInUse: number
  /** The file has reached its limit: etcd takes no writes until the alarm is cleared. */
  readonly isFull: boolean
}

/** The etcd cluster itself, not its keys: for the hosts that run its members. */
export interface EtcdCluster {
  /** The id of the member that answers. */
  ownId(signal: AbortSignal): Promise<string>
  members(signal: AbortSignal): Promise<readonly ClusterMember[]>
  /** Resolves to all members, the new one too, which has no name yet. */
  addLearner(peerUrl: string, signal: AbortSignal): Promise<readonly ClusterMember[]>
  promote(id: string, signal: AbortSignal): Promise<void>
  remove(id: string, signal: AbortSignal): Promise<void>
  movePeer(id: string, peerUrl: string, signal: AbortSignal): Promise<void>
  state(signal: AbortSignal): Promise<MemberState>
  /** Removes all revisions but the newest; the space is free then, not given back. */
  compact(signal: AbortSignal): Promise<void>
  /** Gives back free space. The member that answers serves nothing meanwhile. */
  defragment(signal: AbortSignal): Promise<void>
  /** Clears the alarms of the member that answers. */
  disarm(signal: AbortSignal): Promise<void>
  /** Its whole data, as `etcdctl snapshot save` writes it. Throws where it did not come whole. */
  snapshot(signal: AbortSignal): AsyncIterable<Uint8Array>
  /** Tries again until it works. Rejects with the signal's reason. */
  until<T>(activity: string, act: () => Promise<T>, signal: AbortSignal): Promise<T>
  close(): void
}
