/**
 * What is recorded while faults continue, and all that the checker sees. Times are ms on one clock that never jumps; what etcd
 * did bears the time at which the observer heard of it, and etcd's own order in `epoch` and `revision`.
 */
export type Happening = Timed &
  (
    | EtcdPut
    | EtcdDelete
    | EtcdReset
    | OperatorAct
    | AgentHappening
    | Fault
    | Slow
    | { readonly what: 'healed' }
  )

interface Timed {
  readonly at: number
}

/** A store that was wiped counts its revisions from 1 again: the epoch says which life it was. */
interface EtcdPut {
  readonly what: 'put'
  readonly epoch: number
  readonly revision: number
  /** Subnet key: `10.1.5.0-24`. */
  readonly key: string
  /** Revision at which the key was created. */
  readonly created: number
  /** Who wrote the value, by the VTEP MAC in it: see `holderOf`. Its public IP may move between nodes. */
  readonly holder: string
  /** Public IP in the value. */
  readonly ip: string
  /** etcd lease that the key is attached to: the same where another agent touched the key. */
  readonly lease: string
}

interface EtcdDelete {
  readonly what: 'delete'
  readonly epoch: number
  readonly revision: number
  readonly key: string
}

/** etcd has lost all its data; what follows is of this epoch. */
interface EtcdReset {
  readonly what: 'reset'
  readonly epoch: number
}

/** An operator with etcdctl removed these keys, by themselves or with their etcd lease. */
interface OperatorAct {
  readonly what: 'operator'
  readonly keys: readonly string[]
}

/** Agents go by a name of their own, which stays when their address changes. */
export type AgentHappening = { readonly agent: string } /** `ip`: its public IP at that time. */ & (
  | { readonly what: 'started'; readonly previous: string | undefined; readonly ip: string }
  /** `since`: create revision of the key. */
  | { readonly what: 'acquired'; readonly key: string; readonly since: number }
  /** Told that the lease is another's or gone. */
  | { readonly what: 'lost'; readonly key: string }
  | { readonly what: 'ended' }
  /** It ended by itself, with an unexpected error. */
  | { readonly what: 'failed'; readonly error: string }
  /** How its table differs from the one before. */
  | { readonly what: 'table'; readonly set: readonly Peer[]; readonly removed: readonly string[] }
  /** Calls and streams that its store has begun in this life. */
  | { readonly what: 'calls'; readonly calls: number }
)

export interface Peer {
  readonly key: string
  readonly since: number
  readonly holder: string
  readonly ip: string
}

interface Fault {
  readonly what: 'fault'
  readonly name: string
  /** Something is wrong with etcd itself: the observer may hear late. */
  readonly ofEtcd: boolean
  /** No call of any agent is answered from now on. */
  readonly away: boolean
}

/** The machine kept a client without any tested code waiting for so long. */
interface Slow {
  readonly what: 'slow'
  readonly ms: number
}

/** What an agent promises, in the scale of the run. */
export interface Promises {
  readonly ttlMs: number
  /** How long a table or a belief may be wrong once all is healed, on a machine that is not too slow. */
  readonly agreeMs: number
  /** How long peers are believed in that a wiped store no longer names. */
  readonly graceMs: number
  readonly firstRetryMs: number
  readonly lastRetryMs: number
  /** Subnets that the network has. */
  readonly subnets: number
}

export interface Violation {
  readonly at: number
  readonly rule: Rule
  readonly text: string
}

export type Rule =
  | 'overwrote'
  | 'overlap'
  | 'gone early'
  | 'moved'
  | 'vanished'
  | 'table'
  | 'belief'
  | 'starved'
  | 'two keys'
  | 'hot'
  | 'failed'
