import { vtepOf } from '../../backend_data.ts'
import { type Lease, printLease } from '../../lease.ts'
import type { Mac } from '../../net/mac.ts'

/** What to look for on a host: `10.1.5.0/24 at 192.168.0.7, VTEP MAC c6:d2:00:00:00:01`. */
export function describeLease(lease: Lease): string {
  const macs = macsOf(lease)
  return macs.length === 0 ? printLease(lease) : `${printLease(lease)}, VTEP MAC ${macs.join(' + ')}`
}

export function macsOf(lease: Lease | undefined): readonly Mac[] {
  return lease?.subnets.flatMap(({ backendData }) => vtepOf(backendData)?.mac ?? []) ?? []
}
