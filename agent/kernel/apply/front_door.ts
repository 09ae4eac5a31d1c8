import { readFileSync, writeFileSync } from 'node:fs'

/** What a pod could otherwise change in this node's routing with one packet through the tunnel. */
const SETTINGS = ['ipv6/conf/*/accept_ra', 'ipv6/conf/*/accept_redirects', 'ipv4/conf/*/accept_redirects']

/**
 * Keeps a device from taking router advertisements and redirects. A container that is not privileged has
 * /proc/sys read-only: what an advertisement makes is removed then like any other drift, and `twill doctor`
 * names the setting. Synchronous: /proc/sys/net shows the network namespace of the calling thread, and those
 * of the thread pool may be in another one.
 */
export function closeFrontDoor(device: string): void {
  for (const setting of SETTINGS) {
    const path = `/proc/sys/net/${setting.replace('*', device)}`
    try {
      if (readFileSync(path, 'latin1').trim() !== '0') writeFileSync(path, '0')
    } catch {
      // See above; and without IPv6 there is no such file.
    }
  }
}
