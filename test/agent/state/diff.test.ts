import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { diff } from '../../../agent/state/diff.ts'
import type { Entry, Link } from '../../../agent/state/entry.ts'
import { printOperation } from '../../../agent/state/operation.ts'
import { entryKey } from '../../../agent/state/print.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parseMac } from '../../../lease/net/mac.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'

const link: Link = {
  kind: 'link',
  name: 'flannel.1',
  mac: parseMac('02:00:00:00:00:01'),
  deviceMtu: 1450,
  up: true,
  vxlan: { vni: 1, port: 8472, local: parseIp('192.168.0.1'), underlay: 'eth0', learning: false, gbp: false },
}
const address: Entry = { kind: 'address', dev: 'flannel.1', address: parseIp('10.244.1.0'), length: 32 }
const whole = [link, address, ...peer(2), ...peer(3)]

describe('diff', () => {
  it('adds a device before what sits on it, and a neighbor before its route', () => {
    expect(drift([], [...peer(2).reverse(), address, link])).toEqual([
      'add link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
      'add address 10.244.1.0/32 dev flannel.1',
      'add fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2',
      'add neighbor 10.244.2.0 dev flannel.1 lladdr 02:00:00:00:00:02',
      'add route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    ])
  })

  it('removes in reverse order, after all that is added', () => {
    expect(
      drift([link, address, ...peer(2)], [link, address, ...peer(3)]).map(text =>
        text.split(' ', 2).join(' '),
      ),
    ).toEqual(['add fdb', 'add neighbor', 'add route', 'delete route', 'delete neighbor', 'delete fdb'])
  })

  it('says nothing where all is as desired', () => {
    expect(drift(whole, structuredClone(whole))).toEqual([])
  })

  it('leads a MAC back to its VTEP', () => {
    const astray: Entry = {
      kind: 'fdb',
      dev: 'flannel.1',
      mac: parseMac('02:00:00:00:00:02'),
      dst: parseIp('192.168.0.66'),
    }
    expect(drift([...whole, astray], whole)).toEqual([
      'replace fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2',
    ])
  })

  it('leads from any state to any other in one pass', () => {
    const subset = fc.subarray(whole)
    fc.assert(
      fc.property(subset, subset, (actual, desired) => {
        const kernel = new Map(actual.map(entry => [entryKey(entry), entry]))
        for (const { verb, entry } of diffOf(actual, desired)) {
          if (verb === 'delete') kernel.delete(entryKey(entry))
          else kernel.set(entryKey(entry), entry)
        }
        expect([...kernel.keys()].sort()).toEqual(desired.map(entryKey).sort())
      }),
    )
  })
})

function peer(n: number): Entry[] {
  const mac = parseMac(`02:00:00:00:00:0${n}`)
  const gateway = parseIp(`10.244.${n}.0`)
  return [
    { kind: 'fdb', dev: 'flannel.1', mac, dst: parseIp(`192.168.0.${n}`) },
    { kind: 'neighbor', dev: 'flannel.1', address: gateway, mac },
    {
      kind: 'route',
      type: 'unicast',
      dst: parsePrefix(`10.244.${n}.0/24`),
      via: gateway,
      dev: 'flannel.1',
      onlink: true,
      metric: 0,
      protocol: 3,
    },
  ]
}

function diffOf(actual: Entry[], desired: Entry[]) {
  const was = new Map(actual.map(entry => [entryKey(entry), entry]))
  const want = new Map(desired.map(entry => [entryKey(entry), entry]))
  return diff(new Set([...was.keys(), ...want.keys()]), was, want)
}

const drift = (actual: Entry[], desired: Entry[]) => diffOf(actual, desired).map(printOperation)
