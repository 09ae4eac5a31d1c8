import { readFileSync, writeFileSync } from 'node:fs'

/** With these settings on, a pod could change this node's routing with one packet through the tunnel. */
const SETTINGS = ['ipv6/conf/*/accept_ra', 'ipv6/conf/*/accept_redirects', 'ipv4/conf/*/accept_redirects']

/**
 * Makes a device ignore router advertisements and redirects. In an unprivileged container /proc/sys is
 * read-only: the agent then removes routes from an advertisement like any other drift, and `twill doctor`
 * names the setting. Synchronous: /proc/sys/net shows the network namespace of the calling thread, and a
 * thread of the pool may be in another one.
 */
export function refuseRouterMessages(device: string): void {
  for (const setting of SETTINGS) {
    const path = `/proc/sys/net/${setting.replace('*', device)}`
    try {
      if (readFileSync(path, 'latin1').trim() !== '0') writeFileSync(path, '0')
    } catch {
      // Read-only, see above; or this host has no IPv6 and so no such file.
    }
  }
}
