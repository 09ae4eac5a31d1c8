/** A write or deletion of one key in etcd's subnets folder, by an attacker with write permission. */
export interface HostileChange {
  /** Without the folder. */
  readonly key: string
  /** Undefined: the key is deleted. */
  readonly value: string | undefined
}

/** Number of keys that are written repeatedly. */
const KEYS = 200

const vtep = (n: number) => `{"VNI":1,"VtepMAC":"02:bb:00:00:${byte(n >> 8)}:${byte(n)}"}`
const lease = (publicIp: string, data: string, type = 'vxlan') =>
  `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"${type}","BackendData":${data}}`

/**
 * Kinds of changes, each harmful in another way. `n` counts all changes, `again` is a key's number among
 * KEYS. The network is 10.0.0.0/8.
 */
const kinds: readonly ((n: number, again: number) => HostileChange)[] = [
  // No JSON, a different text each time.
  (n, again) => ({ key: `10.241.${again}.0-24`, value: `no lease ${n} \u001b[2J\u202e${'x'.repeat(2_000)}` }),
  // Deeply nested JSON, under a new key each time.
  n => ({ key: `10.242.${n}-24`, value: `${'['.repeat(5_000)}` }),
  // A lease outside of the network, with a different prefix each time.
  n => ({
    key: `11.${(n >> 15) & 255}.${(n >> 7) & 255}.${(n << 1) & 255}-31`,
    value: lease('172.31.0.1', vtep(n)),
  }),
  // A peer that changes its address each time.
  (n, again) => ({ key: `10.243.${again}.0-24`, value: lease(`172.30.${n & 127}.${again}`, vtep(again)) }),
  // A prefix that contains a good peer's subnet, with different data each time.
  (n, again) => ({
    key: `10.1.${again & 254}.0-23`,
    value: lease('172.29.0.1', `{"VNI":${n}}`, `n${n}\u0007`),
  }),
  // A peer that comes and goes.
  (n, again) => ({
    key: `10.244.${again}.0-24`,
    value:
      Math.floor(n / kinds.length / KEYS) % 2 === 1
        ? undefined
        : lease(`172.28.0.${again}`, vtep(again + 256)),
  }),
]

export function hostileChange(n: number): HostileChange {
  const kind = kinds[n % kinds.length]
  if (kind === undefined) throw new Error('no such kind')
  return kind(n, Math.floor(n / kinds.length) % KEYS)
}

function byte(n: number): string {
  return (n & 255).toString(16).padStart(2, '0')
}

/** The first `count` changes as bodies for etcd's /v3/kv/txn, several in each. */
export function hostileTransactions(count: number, folder: string): readonly string[] {
  const bodies: string[] = []
  for (let n = 0; n < count; ) {
    // A transaction may change a key only once.
    const batch = new Map<string, string | undefined>()
    for (const end = Math.min(count, n + 100); n < end; n++) {
      const { key, value } = hostileChange(n)
      batch.set(Buffer.from(folder + key).toString('base64'), value)
    }
    const success = Array.from(batch, ([key, value]) =>
      value === undefined
        ? { requestDeleteRange: { key } }
        : { requestPut: { key, value: Buffer.from(value).toString('base64') } },
    )
    bodies.push(JSON.stringify({ success }))
  }
  return bodies
}
