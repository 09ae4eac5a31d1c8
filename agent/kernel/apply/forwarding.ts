import { readFileSync, writeFileSync } from 'node:fs'

/**
 * Enables IPv4 forwarding on a device where the host forwards. The device's own setting can be off, and then
 * packets from the tunnel reach no pod. For IPv6 only the host's setting counts (ip-sysctl). In an
 * unprivileged container /proc/sys is read-only. Synchronous: see refuseRouterMessages().
 */
export function enableForwarding(device: string): void {
  const path = `/proc/sys/net/ipv4/conf/${device}/forwarding`
  try {
    if (isOn('/proc/sys/net/ipv4/ip_forward') && !isOn(path)) writeFileSync(path, '1')
  } catch {
    // Read-only, see above; or the device was deleted meanwhile.
  }
}

function isOn(path: string): boolean {
  return readFileSync(path, 'latin1').trim() !== '0'
}
