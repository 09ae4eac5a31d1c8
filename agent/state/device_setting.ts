import type { Family } from '../../lease/net/ip.ts'

/**
 * Name of a device's setting as sysctl(8) takes it: `net.ipv4.conf.flannel/1.rp_filter`. sysctl swaps dots
 * and slashes, so a dot in the device's name is written as a slash.
 */
export function deviceSetting(family: Family, device: string, setting: string): string {
  return `net.${family}.conf.${device.replaceAll('.', '/')}.${setting}`
}
