import type { Family } from '../../../lease/net/ip.ts'

/** #define AF_UNSPEC 0, AF_INET 2, AF_BRIDGE 7, AF_INET6 10 */
export const AF_UNSPEC = 0
export const AF_INET = 2
export const AF_BRIDGE = 7
export const AF_INET6 = 10

export function familyNumber(family: Family): number {
  return family === 'ipv6' ? AF_INET6 : AF_INET
}
