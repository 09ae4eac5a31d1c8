import { Attributes, requireHeader } from './attributes.ts'

/** #define RTM_NEWRULE 32, RTM_DELRULE 33, RTM_NEWNETCONF 80 */
export const RTM_NEWRULE = 32
export const RTM_DELRULE = 33
export const RTM_NEWNETCONF = 80

/** #define NETCONFA_IFINDEX 1, NETCONFA_IFINDEX_ALL -1 */
const NETCONFA_IFINDEX = 1
const NETCONFA_IFINDEX_ALL = 0xffff_ffff

/** struct netconfmsg { __u8 ncm_family; }; */
const NETCONFMSG = 4

/**
 * Whether the settings are those of net.ipv4.conf.all or net.ipv6.conf.all, `forwarding` and `rp_filter`
 * among them.
 */
export function isOfAllDevices(buffer: Buffer, start: number, end: number): boolean {
  requireHeader('network settings', start, end, NETCONFMSG)
  const attributes = new Attributes(buffer, start + NETCONFMSG, end)
  while (attributes.next())
    if (attributes.type === NETCONFA_IFINDEX) return attributes.u32() === NETCONFA_IFINDEX_ALL
  return false
}
