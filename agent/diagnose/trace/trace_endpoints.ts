import { ExpectedError } from '../../../lease/common/errors.ts'
import type { LeaseTable } from '../../../lease/lease.ts'
import { AddressError, familyOf, type Ip, parseIp } from '../../../lease/net/ip.ts'
import { addressAt, networkAddress, type Prefix } from '../../../lease/net/prefix.ts'

/** A word of an operator that stands for no address. */
export class EndpointError extends ExpectedError {
  override name = 'EndpointError'
}

/** Both of one family: where a name stands for several addresses, the other operand decides. */
export function traceEndpoints(operands: readonly string[], leases: LeaseTable): readonly [Ip, Ip] {
  const [src = [], dst = []] = operands.map(word => addressesOf(word, leases))
  for (const to of dst) {
    const from = src.find(ip => familyOf(ip) === familyOf(to))
    if (from !== undefined) return [from, to]
  }
  throw new EndpointError(`${operands.join(' and ')} have no address family in common`)
}

function addressesOf(word: string, leases: LeaseTable): readonly Ip[] {
  const lease = leases.get(word)
  if (lease !== undefined) return lease.subnets.map(({ prefix }) => nodeAddress(prefix, lease.backendType))
  try {
    return [parseIp(word)]
  } catch (error) {
    if (!(error instanceof AddressError)) throw error
    throw new EndpointError(
      `'${word}' is neither an IP address nor the name of a node: \`twill map\` lists the nodes`,
    )
  }
}

/** A VTEP has its subnet's network address; the first host address is the bridge's. */
function nodeAddress(prefix: Prefix, backendType: string): Ip {
  return backendType === 'vxlan' ? networkAddress(prefix) : addressAt(prefix, 1)
}
