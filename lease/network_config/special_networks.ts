import { overlaps, type Prefix, parsePrefix } from '../net/prefix.ts'

/** Where no pod can have an address (IANA, special-purpose registries). Linux: 240.0.0.0/4 is unicast. */
const special: readonly (readonly [Prefix, string])[] = [
  [parsePrefix('0.0.0.0/8'), '"this host"'],
  [parsePrefix('127.0.0.0/8'), 'loopback'],
  [parsePrefix('169.254.0.0/16'), 'link-local addresses'],
  [parsePrefix('224.0.0.0/4'), 'multicast'],
  [parsePrefix('::/127'), 'loopback and "no address"'],
  [parsePrefix('::ffff:0:0/96'), 'IPv4 written as IPv6'],
  [parsePrefix('fe80::/10'), 'link-local addresses'],
  [parsePrefix('ff00::/8'), 'multicast'],
]

/** Why pods cannot have addresses in that network; undefined where they can. */
export function whyNoPods(network: Prefix): string | undefined {
  const found = special.find(([prefix]) => overlaps(prefix, network))
  return found && `${network} overlaps ${found[0]}, which is for ${found[1]} and never for pods`
}
