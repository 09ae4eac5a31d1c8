import { type BackendData, readBackendData } from '../../lease/backend_data.ts'
import type { Lease } from '../../lease/lease.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { parsePrefix } from '../../lease/net/prefix.ts'

/**
 * A vxlan lease as a peer publishes it. `subnets`: one text for each family, `10.244.2.0/24 at 192.168.0.2`.
 */
export function vxlanLease(node: string, mac: string, ...subnets: string[]): Lease {
  return lease(node, 'vxlan', subnets, vtep(mac))
}

/** Backend data as a node publishes them; with an unusable MAC they are UnusableData. */
export function vtep(mac: string, vni = 1): BackendData {
  return readBackendData({ VNI: vni, VtepMAC: mac })
}

export function hostGwLease(node: string, ...subnets: string[]): Lease {
  return lease(node, 'host-gw', subnets, undefined)
}

function lease(node: string, backendType: string, subnets: string[], backendData: BackendData): Lease {
  return {
    node,
    backendType,
    since: 1,
    subnets: subnets.map(text => {
      const [prefix = '', publicIp = ''] = text.split(' at ')
      return { prefix: parsePrefix(prefix), publicIp: parseIp(publicIp), backendData }
    }),
  }
}
