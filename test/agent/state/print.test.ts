import { describe, expect, it } from 'vitest'
import type {
  Address,
  BlackholeRoute,
  Entry,
  FdbEntry,
  Link,
  Neighbor,
  UnicastRoute,
  Vxlan,
} from '../../../agent/state/entry.ts'
import { printEntry, printsSame } from '../../../agent/state/print.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parseMac } from '../../../lease/net/mac.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { entry } from '../../support/entries.ts'

/** Another value for each field that an entry has: the compiler asks for one where an entry gets a field. */
type Others<T> = { readonly [Field in Exclude<keyof T, 'kind' | 'type' | 'vxlan'>]-?: T[Field] }

const ip = parseIp('192.0.2.7')
const mac = parseMac('02:00:00:00:00:07')
const dst = parsePrefix('10.7.0.0/16')

const vxlan: Others<Vxlan> = {
  vni: 7,
  port: 4789,
  local: ip,
  underlay: 'eth7',
  learning: true,
  gbp: true,
  extra: 'l2miss',
}
const link: Others<Link> = {
  name: 'flannel.7',
  mac,
  deviceMtu: 1400,
  up: false,
  master: 7,
  protodown: true,
}
const address: Others<Address> = { dev: 'flannel.7', address: ip, length: 24 }
const fdb: Others<FdbEntry> = { dev: 'flannel.7', mac, dst: ip, port: 4789, vni: 7, via: 7 }
const neighbor: Others<Neighbor> = { dev: 'flannel.7', address: ip, mac }
const blackhole: Others<BlackholeRoute> = { dst, metric: 7, protocol: 80 }
const unicast: Others<UnicastRoute> = {
  ...blackhole,
  dev: 'flannel.7',
  via: undefined,
  onlink: false,
  extra: 'nhid 7',
}

const device =
  'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.0.2.1 dev eth0 dstport 8472 nolearning'
const rows: readonly (readonly [string, object])[] = [
  [device, link],
  ['address 10.244.1.0/32 dev flannel.1', address],
  ['fdb 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2', fdb],
  ['neighbor 10.244.2.0 dev flannel.1 lladdr 02:00:00:00:00:02', neighbor],
  ['route blackhole 10.244.1.0/24', blackhole],
  ['route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink', unicast],
]

/** A copy, as each snapshot of the kernel makes other objects. */
const copy = (text: string): Entry => structuredClone(entry(text))

describe('two entries', () => {
  it.each(rows)('print the same where all fields are equal: %s', text => {
    expect(printsSame(entry(text), copy(text))).toBe(true)
  })

  it.each(rows)('differ by each of their fields, in text and comparison: %s', (text, others) => {
    for (const [field, value] of Object.entries(others)) {
      const other = { ...copy(text), [field]: value } as Entry
      expect(printEntry(other), field).not.toBe(text)
      expect(printsSame(entry(text), other), field).toBe(false)
    }
  })

  it('differ by each option of a VXLAN device', () => {
    for (const [field, value] of Object.entries(vxlan)) {
      const other = copy(device) as Link
      const changed = { ...other, vxlan: { ...other.vxlan, [field]: value } }
      expect(printsSame(entry(device), changed), field).toBe(false)
    }
  })

  it('differ by their kind and by the type of a route', () => {
    const texts = rows.map(([text]) => text)
    for (const a of texts) expect(texts.filter(b => printsSame(entry(a), copy(b)))).toEqual([a])
    expect(printsSame(entry('route 10.244.1.0/24 dev eth0'), entry('route blackhole 10.244.1.0/24'))).toBe(
      false,
    )
  })
})

describe('the destination of a route', () => {
  it('is written as ip writes it', () => {
    const printed = ['0.0.0.0/0', '::/0', '10.1.2.3/32', 'fd00::1/128', '10.1.0.0/16', 'fd00::/64'].map(
      text =>
        printEntry({ kind: 'route', type: 'blackhole', dst: parsePrefix(text), metric: 0, protocol: 3 }),
    )
    expect(printed).toEqual([
      'route blackhole default',
      'route blackhole default',
      'route blackhole 10.1.2.3',
      'route blackhole fd00::1',
      'route blackhole 10.1.0.0/16',
      'route blackhole fd00::/64',
    ])
  })
})
