import { readFileSync, writeFileSync } from 'node:fs'
import { orUndefined } from '../../../lease/common/errors.ts'
import type { Libc } from '../../netlink/socket/libc.ts'
import type { Link } from '../../state/entry.ts'
import { setTxChecksum, type TxChecksum } from './tx_checksum.ts'

/** With these settings on, a pod could change this node's routing with one packet through the tunnel. */
const ROUTER_MESSAGES = [
  'ipv6/conf/*/accept_ra',
  'ipv6/conf/*/accept_redirects',
  'ipv4/conf/*/accept_redirects',
]

/**
 * Settings of a tunnel device that rtnetlink neither carries nor announces: set when the device is created,
 * and checked again whenever the devices are read. In an unprivileged container /proc/sys is read-only: the
 * agent then removes routes from router advertisements like other drift, and `twill doctor` names the
 * setting.
 */
export class DeviceSettings {
  readonly #libc: Libc
  readonly #txChecksum: TxChecksum

  constructor(libc: Libc, txChecksum: TxChecksum) {
    this.#libc = libc
    this.#txChecksum = txChecksum
  }

  keep({ name, vxlan }: Link): void {
    for (const path of ROUTER_MESSAGES) sysctl(path.replace('*', name), '0')
    // Packets from the tunnel need it to reach a pod. For IPv6 only the host's setting counts (ip-sysctl).
    if (orUndefined(() => isOn('ipv4/ip_forward'))) sysctl(`ipv4/conf/${name}/forwarding`, '1')
    setTxChecksum(this.#libc, name, vxlan.underlay, this.#txChecksum)
  }
}

/**
 * Switches a setting on or off, if it exists and can be written. Synchronous: /proc/sys/net shows the network
 * namespace of the calling thread, and a thread of the pool may be in another one.
 */
function sysctl(path: string, value: '0' | '1'): void {
  try {
    if (isOn(path) !== (value === '1')) writeFileSync(`/proc/sys/net/${path}`, value)
  } catch {
    // Read-only; or this host has no IPv6; or the device was deleted meanwhile.
  }
}

function isOn(path: string): boolean {
  return readFileSync(`/proc/sys/net/${path}`, 'latin1').trim() !== '0'
}
