import { readFileSync, writeFileSync } from 'node:fs'

/**
 * Lets a device pass IPv4 packets on where the host does: a device may be left out by its own setting, and
 * what comes through the tunnel then reaches no pod. IPv6 asks the host's setting alone (ip-sysctl). A
 * container that is not privileged has /proc/sys read-only. Synchronous: see closeFrontDoor().
 */
export function joinForwarding(device: string): void {
  const path = `/proc/sys/net/ipv4/conf/${device}/forwarding`
  try {
    if (isOn('/proc/sys/net/ipv4/ip_forward') && !isOn(path)) writeFileSync(path, '1')
  } catch {
    // See above; and the device may have gone meanwhile.
  }
}

function isOn(path: string): boolean {
  return readFileSync(path, 'latin1').trim() !== '0'
}
