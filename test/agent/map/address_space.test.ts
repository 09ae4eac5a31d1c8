import { describe, expect, it } from 'vitest'
import { addressSpace, utilisation } from '../../../agent/map/address_space.ts'
import type { MapRow } from '../../../agent/map/subnet_map.ts'
import type { FamilyNetwork } from '../../../lease/network_config/network_config.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'

const row = (node: string, subnet: string, more: Partial<MapRow> = {}): MapRow => ({
  node,
  subnets: [subnet],
  publicIps: ['192.168.0.2'],
  backend: 'vxlan',
  vtepMacs: [],
  since: '',
  renewedAt: null,
  expiresAt: null,
  kernel: null,
  refused: null,
  note: null,
  ...more,
})

function familyOf(config: object): FamilyNetwork {
  const [family] = parseNetworkConfig(JSON.stringify({ Backend: { Type: 'vxlan' }, ...config })).families
  if (family === undefined) throw new Error('the config has no family')
  return family
}

const print = (family: FamilyNetwork, rows: readonly MapRow[]) =>
  addressSpace(family, rows).map(piece =>
    piece.kind === 'lease' ? `${piece.prefix} ${piece.row.node}` : `${piece.subnets} free`,
  )

describe('the address space', () => {
  const family = familyOf({ Network: '10.244.0.0/16' })

  it('is one free run where nothing is leased', () => {
    expect(print(family, [])).toEqual(['255 free'])
  })

  it('stands in the order of the addresses, with the free runs between the leases', () => {
    const rows = [row('b', '10.244.9.0/24'), row('a', '10.244.1.0/24'), row('c', '10.244.10.0/24')]
    expect(print(family, rows)).toEqual([
      '10.244.1.0/24 a',
      '7 free',
      '10.244.9.0/24 b',
      '10.244.10.0/24 c',
      '245 free',
    ])
  })

  it('shows leases that overlap side by side, and leaves out those of other networks', () => {
    const rows = [row('wide', '10.244.0.0/22'), row('in it', '10.244.2.0/24'), row('other', '10.99.0.0/24')]
    expect(print(family, rows)).toEqual(['10.244.0.0/22 wide', '10.244.2.0/24 in it', '252 free'])
  })

  it('counts what an IPv6 network holds exactly', () => {
    const wide = familyOf({
      EnableIPv4: false,
      EnableIPv6: true,
      IPv6Network: 'fd00::/16',
      IPv6SubnetLen: 126,
    })
    expect(utilisation(wide, [row('a', 'fd00::4/126')])).toEqual({
      ...wide,
      total: String(2n ** 110n - 1n),
      used: 1,
      reserved: 0,
      free: String(2n ** 110n - 2n),
    })
  })

  it('counts reservations among what is used', () => {
    const rows = [row('a', '10.244.1.0/24'), row('kept', '10.244.2.0/24', { backend: '' })]
    expect(utilisation(family, rows)).toMatchObject({ total: '255', used: 2, reserved: 1, free: '253' })
  })
})
