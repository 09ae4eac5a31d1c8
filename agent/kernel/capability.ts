import { readFileSync } from 'node:fs'
import { ExpectedError } from '../../lease/common/errors.ts'

/** #define CAP_NET_ADMIN 12 */
const CAP_NET_ADMIN = 12n

export class CapabilityError extends ExpectedError {
  override name = 'CapabilityError'
}

/** Throws CapabilityError without CAP_NET_ADMIN in effect (capabilities(7), proc(5): CapEff). */
export function requireNetAdmin(status: string = readFileSync('/proc/self/status', 'latin1')): void {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1]
  if (effective === undefined)
    throw new CapabilityError('Cannot tell whether CAP_NET_ADMIN is there: /proc/self/status has no CapEff')
  if (((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 0n)
    throw new CapabilityError(
      'Cannot change network devices and routes without the capability CAP_NET_ADMIN: run as root, or with AmbientCapabilities=CAP_NET_ADMIN (systemd) or securityContext.capabilities.add: [NET_ADMIN] (Kubernetes)',
    )
}
