import type { Family } from '../../lease/net/ip.ts'
import { deviceSetting } from '../state/device_setting.ts'

/** The setting that lets a host forward packets of a family (ip-sysctl). */
export const forwardingSetting: Readonly<Record<Family, string>> = {
  ipv4: 'net.ipv4.ip_forward',
  ipv6: 'net.ipv6.conf.all.forwarding',
}

/** As `forwardingSetting`, of the device that receives the packet; undefined for IPv6, which has none. */
export function deviceForwarding(family: Family, device: string): string | undefined {
  return family === 'ipv6' ? undefined : deviceSetting(family, device, 'forwarding')
}

/** Whether packets between two ports of a bridge pass iptables; missing without br_netfilter. */
export const bridgeSetting: Readonly<Record<Family, string>> = {
  ipv4: 'net.bridge.bridge-nf-call-iptables',
  ipv6: 'net.bridge.bridge-nf-call-ip6tables',
}

/** Connections that the kernel tracks, and the limit; both missing without conntrack. */
export const conntrackSettings = {
  count: 'net.netfilter.nf_conntrack_count',
  max: 'net.netfilter.nf_conntrack_max',
} as const
