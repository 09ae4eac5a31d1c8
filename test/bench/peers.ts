import type { Family } from '../../lease/net/ip.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { parseMac } from '../../lease/net/mac.ts'
import { parsePrefix } from '../../lease/net/prefix.ts'
import { encodeLeaseValue, encodeSubnetKey } from '../../lease/wire.ts'

/** Room for 65,536 subnets; nodes that claim one get it beyond all that is made up here. */
export const network = {
  Network: '10.0.0.0/8',
  SubnetLen: 24,
  SubnetMin: '10.200.0.0',
  SubnetMax: '10.254.0.0',
  Backend: { Type: 'vxlan' },
}

export const dualStack = {
  ...network,
  EnableIPv6: true,
  IPv6Network: 'fd10::/32',
  IPv6SubnetLen: 64,
  IPv6SubnetMin: 'fd10:0:c8::',
  IPv6SubnetMax: 'fd10:0:fe::',
}

/** What stands under one key in etcd. */
export interface StoredLease {
  /** Without the folder. */
  readonly key: string
  readonly value: string
}

/** A node that does not exist: its subnet, its VTEP and where it would be reached, in one family. */
export interface MadeUpPeer {
  readonly subnet: string
  readonly gateway: string
  readonly mac: string
  readonly publicIp: string
}

/** Where all of them have their public IPv4 address. */
export const madeUpUnderlay = '172.16.0.0/12'

/** The n-th peer: from 0 to 50,000. */
export function madeUpPeer(n: number, family: Family = 'ipv4'): MadeUpPeer {
  const [high, low] = [n >> 8, n & 0xff]
  const hex = (byte: number) => byte.toString(16).padStart(2, '0')
  if (family === 'ipv6') {
    const gateway = `fd10:0:1:${(n + 1).toString(16)}::`
    const publicIp = `fd60::${(n + 1).toString(16)}`
    return { subnet: `${gateway}/64`, gateway, mac: `02:be:06:00:${hex(high)}:${hex(low)}`, publicIp }
  }
  const gateway = `10.${1 + high}.${low}.0`
  const publicIp = `172.16.${high}.${low}`
  return { subnet: `${gateway}/24`, gateway, mac: `02:be:04:00:${hex(high)}:${hex(low)}`, publicIp }
}

export function storedLease(n: number, families: readonly Family[] = ['ipv4']): StoredLease {
  const peers = families.map(family => madeUpPeer(n, family))
  const value = encodeLeaseValue({
    publicIps: peers.map(({ publicIp }) => parseIp(publicIp)),
    backendType: 'vxlan',
    backendData: peers.map(({ mac }) => ({ vni: 1, mac: parseMac(mac) })),
  })
  return { key: encodeSubnetKey(peers.map(({ subnet }) => parsePrefix(subnet))), value }
}

export function storedLeases(from: number, to: number, families?: readonly Family[]): StoredLease[] {
  return Array.from({ length: to - from }, (_, i) => storedLease(from + i, families))
}
