import type { Happening } from './history.ts'

export interface Put {
  readonly at: number
  readonly revision: number
  readonly holder: string
  readonly ip: string
  readonly lease: string
}

/** One life of a subnet key in etcd, from its creation to its removal. */
export interface Instance {
  readonly epoch: number
  readonly key: string
  readonly created: number
  /** Each write in order; the first created it. */
  readonly puts: Put[]
  deleted: { readonly at: number; readonly revision: number } | undefined
  /** When the store lost it with all its data. */
  wipedAt: number | undefined
}

/** What etcd did to the subnet keys, in etcd's own order. */
export function instancesOf(history: readonly Happening[]): Instance[] {
  const all: Instance[] = []
  const standing = new Map<string, Instance>()
  for (const event of history) {
    if (event.what === 'put') {
      const { at, revision, holder, ip, lease, key, created, epoch } = event
      let instance = standing.get(key)
      if (instance?.created !== created) {
        instance = { epoch, key, created, puts: [], deleted: undefined, wipedAt: undefined }
        standing.set(key, instance)
        all.push(instance)
      }
      instance.puts.push({ at, revision, holder, ip, lease })
    } else if (event.what === 'delete') {
      const instance = standing.get(event.key)
      standing.delete(event.key)
      if (instance) instance.deleted = { at: event.at, revision: event.revision }
    } else if (event.what === 'reset') {
      for (const instance of standing.values()) instance.wipedAt = event.at
      standing.clear()
    }
  }
  return all
}

/** Who held it last. */
export function lastHolder(instance: Instance): string {
  return instance.puts.at(-1)?.holder ?? ''
}

/** When its etcd lease was last renewed. Another agent's touch changes the key and leaves the lease as it is. */
export function renewedAt({ puts }: Instance): number | undefined {
  const last = puts.at(-1)
  return puts.find(put => put.lease === last?.lease)?.at
}

/** When it ended, as heard; Infinity where it stands. */
export function endOf(instance: Instance): number {
  return instance.deleted?.at ?? instance.wipedAt ?? Number.POSITIVE_INFINITY
}

export function startOf(instance: Instance): number {
  return instance.puts[0]?.at ?? Number.POSITIVE_INFINITY
}
