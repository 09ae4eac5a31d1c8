import { lookup } from 'node:dns/promises'
import { sleep } from '../../lease/common/sleep.ts'
import { hostOf, type Ip, ipOrUndefined } from '../../lease/net/ip.ts'

/** A resolver that does not answer must not hold up the start. */
const RESOLVE_MS = 2_000

/** The addresses of the hosts in these URLs. A name that cannot be resolved now adds none. */
export async function endpointAddresses(urls: readonly string[], signal: AbortSignal): Promise<Ip[]> {
  const found = await Promise.all(urls.map(url => addressesOf(hostOf(url), signal)))
  signal.throwIfAborted()
  return [...new Set(found.flat())]
}

async function addressesOf(host: string, signal: AbortSignal): Promise<readonly Ip[]> {
  const literal = ipOrUndefined(host)
  if (literal !== undefined) return [literal]
  // No AbortSignal.timeout inside AbortSignal.any: Node.js may collect it as garbage before it fires.
  const timeout = sleep(RESOLVE_MS, signal).catch(() => {})
  const answers = lookup(host, { all: true }).catch(() => [])
  const found = (await Promise.race([answers, timeout])) ?? []
  return found.flatMap(({ address }) => ipOrUndefined(address) ?? [])
}
