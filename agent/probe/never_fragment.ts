import type { Socket } from 'node:dgram'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { orUndefined } from '../../lease/common/errors.ts'
import type { Family } from '../../lease/net/ip.ts'
import { loadLibc } from '../netlink/socket/libc.ts'

/** ip(7), ipv6(7): IP_MTU_DISCOVER, IPV6_MTU_DISCOVER; IP_PMTUDISC_PROBE ignores the known path MTU. */
const options = {
  ipv4: { level: 0, option: 10, table: '/proc/self/net/udp' },
  ipv6: { level: 41, option: 23, table: '/proc/self/net/udp6' },
} as const
const IP_PMTUDISC_PROBE = 3

/** Makes the kernel drop oversized packets: the path's MTU is to be measured. Bind first. */
export async function neverFragment(socket: Socket, family: Family): Promise<void> {
  const { level, option, table } = options[family]
  const fd = descriptorOf(inodesIn(table, socket.address().port))
  const libc = await loadLibc()
  if (fd !== undefined) libc.setSocketOption(fd, level, option, IP_PMTUDISC_PROBE)
}

/** Node.js hides a socket's descriptor: found by its port. proc(5): column 2 is the local address. */
function inodesIn(table: string, port: number): ReadonlySet<string> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const lines = readFileSync(table, 'utf8').split('\n')
  const rows = lines.map(line => line.trim().split(/\s+/))
  return new Set(rows.filter(row => row[1]?.endsWith(`:${hex}`)).map(row => `socket:[${row[9]}]`))
}

/** Other programs may have sockets with that port: one alone is this process's. */
function descriptorOf(inodes: ReadonlySet<string>): number | undefined {
  // The descriptor of the listing itself is closed by now.
  const linkOf = (fd: number) => orUndefined(() => readlinkSync(`/proc/self/fd/${fd}`)) ?? ''
  const descriptors = readdirSync('/proc/self/fd').map(Number)
  return descriptors.find(fd => inodes.has(linkOf(fd)))
}
