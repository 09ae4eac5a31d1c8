import { describe, expect, it } from 'vitest'
import {
  readPreviousNetworks,
  readPreviousSubnets,
  renderSubnetEnv,
} from '../../../agent/node_files/subnet_env.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'

const v4 = { network: parsePrefix('10.244.0.0/16'), subnet: parsePrefix('10.244.1.0/24') }
const v6 = { network: parsePrefix('fd00:10::/48'), subnet: parsePrefix('fd00:10:0:1::/64') }

describe('subnet.env', () => {
  it('is what flanneld writes', () => {
    expect(renderSubnetEnv({ families: [v4], overlayMtu: 1450, ipMasq: true })).toBe(
      'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
    )
  })

  it('holds both families, IPv4 first', () => {
    expect(renderSubnetEnv({ families: [v4, v6], overlayMtu: 1430, ipMasq: false }).split('\n')).toEqual([
      'FLANNEL_NETWORK=10.244.0.0/16',
      'FLANNEL_SUBNET=10.244.1.1/24',
      'FLANNEL_IPV6_NETWORK=fd00:10::/48',
      'FLANNEL_IPV6_SUBNET=fd00:10:0:1::1/64',
      'FLANNEL_MTU=1430',
      'FLANNEL_IPMASQ=false',
      '',
    ])
  })

  it('of IPv6 alone names no IPv4', () => {
    expect(renderSubnetEnv({ families: [v6], overlayMtu: 1430, ipMasq: false })).not.toContain(
      'FLANNEL_SUBNET',
    )
  })
})

describe('an earlier subnet.env', () => {
  it('gives back the subnets that were written', () => {
    const text = renderSubnetEnv({ families: [v4, v6], overlayMtu: 1450, ipMasq: false })
    expect(readPreviousSubnets(text)).toEqual([v4.subnet, v6.subnet])
  })

  it('gives back the networks', () => {
    const text = renderSubnetEnv({ families: [v4, v6], overlayMtu: 1450, ipMasq: false })
    expect(readPreviousNetworks(text)).toEqual([v4.network, v6.network])
  })

  it('may hold lists and nonsense', () => {
    const text =
      'FLANNEL_SUBNET=10.1.2.1/24, 10.1.3.1/24,x,10.1.4.1\n#\nFLANNEL_IPV6_SUBNET=\nFLANNEL_SUBNETS=10.9.9.1/24'
    expect(readPreviousSubnets(text)).toEqual(['10.1.2.0/24', '10.1.3.0/24'])
    expect(readPreviousSubnets('')).toEqual([])
  })
})
