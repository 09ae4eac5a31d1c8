import { readFileSync } from 'node:fs'
import { orUndefined } from '../../../lease/common/errors.ts'
import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { familyOf } from '../../../lease/net/ip.ts'
import { NetlinkError } from '../../netlink/errno.ts'
import { portHolder } from '../../netlink/port_holder.ts'
import type { Requests } from '../../netlink/requests.ts'
import { deviceSetting } from '../../state/device_setting.ts'
import type { Entry, Link } from '../../state/entry.ts'
import { leastMtu } from '../../state/kernel_defaults.ts'
import { entryDevice } from '../../state/print.ts'
import { dumpLinks } from '../snapshot/dumps.ts'

/** An entry on a device or, like a blackhole route, on none; not a device itself. */
export type Dependent = Exclude<Entry, Link>

/** Adds the likely cause, where one is known, to an error that misleads. `mtu`: of the device, in bytes. */
export function explainEntry(entry: Dependent, error: NetlinkError, mtu: number | undefined): NetlinkError {
  const dev = entryDevice(entry)
  if (dev === undefined || !isIpv6(entry)) return error
  if (mtu !== undefined && mtu < leastMtu.ipv6)
    return restated(
      error,
      `device ${dev} has MTU ${mtu}, and IPv6 needs ${leastMtu.ipv6}: raise the underlay's MTU or Backend.MTU`,
    )
  const disabled = [dev, 'all'].find(isIpv6Disabled)
  if (disabled === undefined) return error
  const setting = deviceSetting('ipv6', disabled, 'disable_ipv6')
  return restated(error, `${setting} is 1: set it to 0 (${shellQuote('sysctl', '-w', `${setting}=0`)})`)
}

/** Names the device or process that holds the UDP port, where the kernel refuses a device with EADDRINUSE. */
export async function explainPort(
  requests: Requests,
  { name, vxlan }: Link,
  signal: AbortSignal,
): Promise<string> {
  const links = await dumpLinks(requests, signal)
  const device = links.find(link => link.name !== name && link.vxlan?.port === vxlan.port)
  const holder =
    portHolder('udp', vxlan.port) ??
    (device && `device ${device.name}, whose options (${device.vxlan?.extra || 'gbp'}) conflict with it`)
  return `UDP port ${vxlan.port} is taken by ${holder ?? 'an unknown program'}: stop it, or set another Port in the network config`
}

function restated({ code, errno }: NetlinkError, text: string): NetlinkError {
  return new NetlinkError('', errno, `${text}; the kernel says ${code}`)
}

function isIpv6(entry: Dependent): boolean {
  if (entry.kind === 'fdb') return false
  return familyOf(entry.kind === 'route' ? entry.dst : entry.address) === 'ipv6'
}

/** Synchronous: /proc/sys/net shows the network namespace of the calling thread. */
function isIpv6Disabled(name: string): boolean {
  const path = `/proc/sys/net/ipv6/conf/${name}/disable_ipv6`
  return orUndefined(() => readFileSync(path, 'utf8').trim()) === '1'
}
