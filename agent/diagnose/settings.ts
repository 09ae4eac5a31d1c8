import type { Family } from '../../lease/net/ip.ts'

/** The setting that lets a host pass on packets of a family (ip-sysctl). */
export const forwardingSetting: Readonly<Record<Family, string>> = {
  ipv4: 'net.ipv4.ip_forward',
  ipv6: 'net.ipv6.conf.all.forwarding',
}

/** Only IPv4 has the setting by device: it is that of the device by which a packet comes in (ip-sysctl). */
export function deviceForwarding(family: Family, device: string): string | undefined {
  return { ipv4: `net.ipv4.conf.${device}.forwarding`, ipv6: undefined }[family]
}

/** Whether packets between two ports of a bridge pass iptables; missing without br_netfilter. */
export const bridgeSetting: Readonly<Record<Family, string>> = {
  ipv4: 'net.bridge.bridge-nf-call-iptables',
  ipv6: 'net.bridge.bridge-nf-call-ip6tables',
}

/** `all` or a device's, of ip-sysctl. */
export function arpIgnore(device: string): string {
  return `net.ipv4.conf.${device}.arp_ignore`
}

/** Connections that the kernel follows, and the most that it can; missing without conntrack. */
export const conntrackSettings = {
  count: 'net.netfilter.nf_conntrack_count',
  max: 'net.netfilter.nf_conntrack_max',
} as const
