/** `netdev other in`: family, table and chain. */
type ChainName = string

/** Devices of ingress and egress chains, from `nft list ruleset`: the JSON of nft before 1.0.9 lacks them. */
export function parseNftDevices(text: string): ReadonlyMap<ChainName, readonly string[]> {
  const found = new Map<ChainName, readonly string[]>()
  let [table, chain] = ['', '']
  for (const line of text.split('\n')) {
    table = /^table (\S+ \S+) \{/.exec(line)?.[1] ?? table
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain
    const [, devices] = /^\s+type \S+ hook (?:in|e)gress devices? (?:= )?(\{[^}]*\}|\S+)/.exec(line) ?? []
    const names = Array.from((devices ?? '').matchAll(/[^\s{},"]+/g), ([name]) => name)
    if (names.length > 0) found.set(`${table} ${chain}`, names)
  }
  return found
}
