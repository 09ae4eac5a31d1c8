import type { Family } from '../../lease/net/ip.ts'
import { deviceSetting } from '../state/device_setting.ts'

/** The setting that lets a host forward packets of a family (ip-sysctl). */
export const forwardingSetting: Readonly<Record<Family, string>> = {
  ipv4: 'net.ipv4.ip_forward',
  ipv6: 'net.ipv6.conf.all.forwarding',
}

/** As `forwardingSetting`, of the device that receives the packet; undefined for IPv6, which has none. */
export function deviceForwarding(family: Family, device: string): string | undefined {
  return { ipv4: deviceSetting('ipv4', device, 'forwarding'), ipv6: undefined }[family]
}

/** Whether packets between two ports of a bridge pass iptables; missing without br_netfilter. */
export const bridgeSetting: Readonly<Record<Family, string>> = {
  ipv4: 'net.bridge.bridge-nf-call-iptables',
  ipv6: 'net.bridge.bridge-nf-call-ip6tables',
}

/** The protocol that asks for a neighbor's MAC. */
export const neighborProtocol: Readonly<Record<Family, string>> = { ipv4: 'ARP', ipv6: 'NDP' }

/** How ip(8) is told the family of a prefix such as `default`: of an address, it guesses the family. */
export const ipOption: Readonly<Record<Family, string>> = { ipv4: '', ipv6: '-6 ' }

/** Connections that the kernel tracks, and the limit; both missing without conntrack. */
export const conntrackSettings = {
  count: 'net.netfilter.nf_conntrack_count',
  max: 'net.netfilter.nf_conntrack_max',
} as const
