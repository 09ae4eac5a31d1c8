import type { Family } from '../../lease/net/ip.ts'

/**
 * The metric that the kernel gives a route without one: 0 for IPv4, IP6_RT_PRIO_USER for IPv6
 * (include/uapi/linux/ipv6_route.h).
 */
export const defaultMetric: Readonly<Record<Family, number>> = { ipv4: 0, ipv6: 1024 }

/**
 * The smallest MTU of a device that carries the family: ETH_MIN_MTU (linux/if_ether.h; RFC 791), IPV6_MIN_MTU
 * (RFC 8200, section 5). The kernel disables IPv6 on a device with a smaller one.
 */
export const leastMtu: Readonly<Record<Family, number>> = { ipv4: 68, ipv6: 1280 }
