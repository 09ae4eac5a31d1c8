import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Admission } from '../../../lease/admission/admission.ts'
import { type HostNetwork, noHostNetworks } from '../../../lease/admission/host_networks.ts'
import { couldBeLeased } from '../../../lease/allocate.ts'
import { type Lease, type LeaseTable, printLease, type Subnet } from '../../../lease/lease.ts'
import { familyOf, scopeOf } from '../../../lease/net/ip.ts'
import { contains, overlaps, parsePrefix } from '../../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../../lease/network_config/network_config.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import { vxlanLease } from '../../support/leases.ts'

const ipv4 = parseNetworkConfig('{"Network":"10.1.0.0/16"}')
const dual = parseNetworkConfig('{"Network":"10.1.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:1::/48"}')
const self = lease('self', 1, '10.1.1.0/24 at 192.168.0.1')
const dualSelf = lease('self', 1, '10.1.1.0/24 at 192.168.0.1', 'fd00:1:0:1::/64 at fd00::1')

function lease(node: string, since: number, ...subnets: string[]): Lease {
  return { ...vxlanLease(node, '02:00:00:00:00:01', ...subnets), since }
}

function hostNetwork(prefix: string): HostNetwork {
  return {
    prefix: parsePrefix(prefix),
    use: 'is connected to eth2',
    refuses: 'overlapping',
    carriesNode: false,
  }
}

function tableOf(...leases: Lease[]): LeaseTable {
  return new Map(leases.map(it => [it.node, it]))
}

function print({ admitted, refused }: Pick<Admission, 'admitted' | 'refused'>): string[] {
  return [
    ...[...admitted.values()].map(it => `${it.node}: ${printLease(it)}`).sort(),
    ...[...refused].map(([node, reason]) => `not ${node}: ${reason}`).sort(),
  ]
}

/** What is let in of this table, asked for at once. */
function judge(network: NetworkConfig, own: Lease, ...leases: Lease[]): string[] {
  const admission = new Admission(network)
  admission.update(own, tableOf(own, ...leases), [])
  return print(admission)
}

describe('admission', () => {
  it('lets in peers, and not ourselves', () => {
    const peer = lease('b', 2, '10.1.2.0/24 at 192.168.0.2')
    const earlierLife = { ...self, node: '10.1.1.0-24' }
    expect(judge(ipv4, self, peer, earlierLife)).toEqual(['b: 10.1.2.0/24 at 192.168.0.2'])
  })

  it.each([
    ['10.2.2.0/24 at 192.168.0.2', 'subnet 10.2.2.0/24 is outside of the network 10.1.0.0/16'],
    ['0.0.0.0/0 at 192.168.0.2', 'subnet 0.0.0.0/0 is outside of the network 10.1.0.0/16'],
    ['10.1.0.0/16 at 192.168.0.2', 'subnet 10.1.0.0/16 overlaps our own 10.1.1.0/24'],
    ['10.1.1.128/25 at 192.168.0.2', 'subnet 10.1.1.128/25 overlaps our own 10.1.1.0/24'],
    ['10.1.1.0/24 at 192.168.0.2', 'subnet 10.1.1.0/24 overlaps our own 10.1.1.0/24'],
    ['10.1.2.0/24 at 192.168.0.1', 'public IP 192.168.0.1 of 10.1.2.0/24 is our own'],
    ['10.1.2.0/24 at 10.1.2.9', 'public IP 10.1.2.9 lies in the subnet 10.1.2.0/24 that it leads to'],
    ['10.1.2.0/24 at 10.1.1.9', 'public IP 10.1.1.9 of 10.1.2.0/24 lies in our own subnet 10.1.1.0/24'],
    ['10.1.2.0/24 at 127.0.0.1', 'public IP 127.0.0.1 of 10.1.2.0/24 is loopback'],
    ['10.1.2.0/24 at 0.0.0.0', 'public IP 0.0.0.0 of 10.1.2.0/24 is unspecified'],
    ['10.1.2.0/24 at 224.0.0.5', 'public IP 224.0.0.5 of 10.1.2.0/24 is multicast'],
    ['10.1.2.0/24 at 255.255.255.255', 'public IP 255.255.255.255 of 10.1.2.0/24 is broadcast'],
    ['10.1.2.0/24 at 169.254.0.9', 'public IP 169.254.0.9 of 10.1.2.0/24 is link-local'],
    ['10.1.2.0/24 at fd00::2', 'public IP fd00::2 of 10.1.2.0/24 is not ipv4'],
    ['fd00:1:0:2::/64 at fd00::2', 'subnet fd00:1:0:2::/64 is ipv6, which the network does not have'],
  ])('does not let in %s', (subnet, reason) => {
    const refused = judge(ipv4, self, lease('b', 2, subnet))
    expect(refused).toHaveLength(1)
    expect(refused[0]).toContain(`not b: ${reason}`)
  })

  it.each(['::', '::1', 'ff02::1', 'fe80::1', '::ffff:1.2.3.4'])('sends nothing to %s', ip => {
    const [admitted, refused] = judge(
      dual,
      dualSelf,
      lease('b', 2, '10.1.2.0/24 at 192.168.0.2', `fd00:1:0:2::/64 at ${ip}`),
    )
    expect(admitted).toBe('b: 10.1.2.0/24 at 192.168.0.2')
    expect(refused).toContain('not b: public IP ')
  })

  it('keeps the good family of a peer whose other is bad', () => {
    const [admitted, ...refused] = judge(
      dual,
      dualSelf,
      lease('b', 2, '10.9.2.0/24 at 192.168.0.2', 'fd00:1:0:2::/64 at fd00::2'),
    )
    expect(admitted).toBe('b: fd00:1:0:2::/64 at fd00::2')
    expect(refused).toEqual([
      'not b: subnet 10.9.2.0/24 is outside of the network 10.1.0.0/16: that node runs with another network config',
    ])
  })

  it('gives what two claim to the older, or to the first by name', () => {
    const wide = lease('wide', 5, '10.1.4.0/22 at 192.168.0.4')
    const inside = lease('inside', 4, '10.1.5.0/24 at 192.168.0.5')
    const sameIp = lease('same-ip', 4, '10.1.9.0/24 at 192.168.0.5')
    expect(judge(ipv4, self, wide, inside, sameIp)).toEqual([
      'inside: 10.1.5.0/24 at 192.168.0.5',
      'same-ip: 10.1.9.0/24 at 192.168.0.5',
      "not wide: subnet 10.1.4.0/22 overlaps 10.1.5.0/24 of 'inside', which had it first: remove whichever of the two leases is stale",
    ])
  })

  it('lets no reservation and no key as wide as a network stand in the way of a lease', () => {
    const reserved = { ...lease('reserved', 2, '10.1.4.0/22 at 192.168.0.4'), backendType: '' }
    const half = lease('half', 3, '10.1.128.0/17 at 192.168.0.3')
    const [a, b] = [
      lease('a', 4, '10.1.5.0/24 at 192.168.0.5'),
      lease('b', 5, '10.1.130.0/24 at 192.168.0.6'),
    ]
    expect(judge(ipv4, self, reserved, half, a, b)).toEqual([
      'a: 10.1.5.0/24 at 192.168.0.5',
      'b: 10.1.130.0/24 at 192.168.0.6',
      'not half: subnet 10.1.128.0/17 is more than a quarter of the network 10.1.0.0/16, which no lease can be: delete it',
      'not reserved: it is reserved, and no node has taken it yet',
    ])
  })

  it('is not swayed by an older peer that is not let in itself', () => {
    const refused = lease('refused', 2, '10.1.0.0/20 at 192.168.0.2')
    expect(judge(ipv4, self, refused, lease('b', 3, '10.1.5.0/24 at 192.168.0.2'))[0]).toBe(
      'b: 10.1.5.0/24 at 192.168.0.2',
    )
  })

  it('lets in the next when the one that holds its addresses goes, and says which peers that concerns', () => {
    const older = lease('older', 2, '10.1.5.0/24 at 192.168.0.5')
    const middle = lease('middle', 3, '10.1.4.0/22 at 192.168.0.6')
    const young = lease('young', 4, '10.1.6.0/24 at 192.168.0.7')
    const other = lease('other', 5, '10.1.9.0/24 at 192.168.0.9')
    const admission = new Admission(ipv4)
    admission.update(self, tableOf(self, older, middle, young, other), [])
    expect([...admission.admitted.keys()].sort()).toEqual(['older', 'other', 'young'])
    const changed = admission.update(self, tableOf(self, middle, young, other), ['older'])
    // The younger stays, though the other is older: it is programmed.
    expect([...changed].sort()).toEqual(['middle', 'older'])
    expect([...admission.admitted.keys()].sort()).toEqual(['other', 'young'])
    expect([...admission.update(self, tableOf(self, middle, other), ['young'])].sort()).toEqual([
      'middle',
      'young',
    ])
    expect([...admission.admitted.keys()].sort()).toEqual(['middle', 'other'])
  })

  it('names each public IP that several leases have, until one is left', () => {
    const [a, b] = [lease('a', 2, '10.1.2.0/24 at 192.168.0.2'), lease('b', 3, '10.1.3.0/24 at 192.168.0.2')]
    const admission = new Admission(ipv4)
    admission.update(self, tableOf(self, a, b), [])
    expect([...admission.shared]).toEqual([['192.168.0.2', ['a', 'b']]])
    admission.update(self, tableOf(self, b), ['a'])
    expect(admission.shared.size).toBe(0)
  })

  it('looks at all again when our own subnet is another', () => {
    const peer = lease('b', 2, '10.1.2.0/24 at 192.168.0.2')
    const admission = new Admission(ipv4)
    admission.update(self, tableOf(self, peer), ['self', 'b'])
    const moved = lease('self', 9, '10.1.2.0/24 at 192.168.0.1')
    expect([...admission.update(moved, tableOf(moved, peer), ['self'])].sort()).toEqual(['b', 'self'])
    expect(print(admission)).toEqual([
      'not b: subnet 10.1.2.0/24 overlaps our own 10.1.2.0/24: remove whichever of the two leases is stale',
    ])
  })

  it('holds a peer over a network of the host that came later, not over one that came first or carries the node', () => {
    const peer = lease('b', 2, '10.1.2.0/24 at 192.168.0.2')
    const under = { ...hostNetwork('10.1.2.0/25'), use: 'is connected to eth1' }
    let nowMs = 0
    const admission = new Admission(ipv4, new Set(), () => nowMs)
    const look = (...overlapping: HostNetwork[]) => {
      admission.setHost({ ...noHostNetworks, overlapping })
      admission.update(self, tableOf(self, peer), ['b'])
      return [
        [...admission.admitted.keys()],
        [...admission.overHost].map(text => /of '(.*?)'/.exec(text)?.[1]),
      ]
    }
    const isIn = [['b'], []]
    const isOut = [[], []]
    expect(look()).toEqual(isIn)
    expect(look(under)).toEqual([['b'], ['b']])
    expect(look({ ...under, carriesNode: true })).toEqual(isOut)
    expect(look(under)).toEqual(isOut)
    nowMs += 3_600_000
    expect(look()).toEqual(isIn)
    nowMs += 10_000
    expect(look(under)).toEqual(isOut)
    expect(look()).toEqual(isIn)
    expect(look(hostNetwork('10.1.2.128/25'))).toEqual([['b'], ['b']])
    nowMs += 61_000
    expect(look(under)).toEqual([['b'], ['b']])
    const restarted = (standing: string[]) => {
      const next = new Admission(ipv4, new Set(standing.map(parsePrefix)))
      next.setHost({ ...noHostNetworks, overlapping: [under] })
      next.update(self, new Map(), [])
      next.update(self, tableOf(self, peer), ['b'])
      return [...next.admitted.keys()]
    }
    expect([restarted([]), restarted(['10.1.2.0/24'])]).toEqual([[], ['b']])
  })

  it('takes a peer that came between the word on a network of the host and the look at it for the later one', () => {
    const [before, between] = [
      lease('a', 2, '10.1.2.0/24 at 192.168.0.2'),
      lease('b', 3, '10.1.3.0/24 at 192.168.0.3'),
    ]
    const under = { ...hostNetwork('10.1.2.0/23'), use: 'is connected to eth1' }
    const admission = new Admission(ipv4)
    admission.update(self, tableOf(self, before), ['a'])
    const heard = admission.nextAge()
    admission.update(self, tableOf(self, before, between), ['b'])
    admission.setHost({ ...noHostNetworks, overlapping: [under] }, heard)
    admission.update(self, tableOf(self, before, between), [])
    expect([...admission.admitted.keys()]).toEqual(['a'])
    expect(admission.refused.get('b')).toContain('overlaps 10.1.2.0/23, which is connected to eth1')
  })

  it('says which peer claims what this node has', () => {
    const admission = new Admission(ipv4)
    admission.update(self, tableOf(self), [])
    expect(admission.conflictWith(lease('b', 2, '10.1.1.128/25 at 192.168.0.2'))).toMatch(
      /^node b: subnet 10\.1\.1\.128\/25 overlaps our own 10\.1\.1\.0\/24/,
    )
    expect(admission.conflictWith(lease('c', 2, '10.1.3.0/24 at 192.168.0.1'))).toMatch(
      /^node c: public IP 192\.168\.0\.1 /,
    )
    expect(admission.conflictWith(lease('d', 2, '10.1.4.0/24 at 192.168.0.4'))).toBeUndefined()
    expect(admission.conflictWith(self)).toBeUndefined()
  })

  it('after any changes holds to what it let in, and to the rules as they read', () => {
    const pools = {
      prefixes: [
        '10.1.0.0/21',
        '10.1.0.0/22',
        '10.1.2.0/24',
        '10.1.3.0/24',
        '10.1.3.0/25',
        '10.1.3.128/25',
        '10.1.1.0/25',
        '10.2.0.0/24',
      ],
      publicIps: [
        '192.168.0.1',
        '192.168.0.2',
        '192.168.0.3',
        '192.168.0.4',
        '192.168.0.5',
        '192.168.0.6',
        '127.0.0.1',
        '10.1.3.5',
      ],
      prefixes6: ['fd00:1:0:1::/64', 'fd00:1:0:2::/64', 'fd00:1:0:2::/63', 'fd00:1::/62', 'fd00:1:0:4::/64'],
      publicIps6: ['fd00::1', 'fd00::2', 'fd00::3', 'fd00::4', '::1'],
    }
    const subnet = (prefixes: string[], ips: string[]) =>
      fc.tuple(fc.constantFrom(...prefixes), fc.constantFrom(...ips)).map(it => it.join(' at '))
    const v4 = subnet(pools.prefixes, pools.publicIps)
    const v6 = subnet(pools.prefixes6, pools.publicIps6)
    const subnets = fc.oneof(fc.tuple(v4), fc.tuple(v6), fc.tuple(v4, v6))
    const peer = fc
      .tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'self'), fc.nat(4), subnets)
      .map(([node, since, texts]) => lease(node, since, ...texts))
    const change = fc.oneof(
      { weight: 4, arbitrary: peer },
      fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
    )
    const round = fc.record({
      changes: fc.array(change, { minLength: 1, maxLength: 6 }),
      own: fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, subnets),
    })
    fc.assert(
      fc.property(fc.array(round, { minLength: 1, maxLength: 8 }), rounds => {
        const table = new Map<string, Lease>()
        const admission = new Admission(dual)
        let own = dualSelf
        for (const { changes, own: next } of rounds) {
          if (next !== undefined) own = lease('self', 1, ...next)
          for (const it of changes) typeof it === 'string' ? table.delete(it) : table.set(it.node, it)
          const before = { admitted: new Map(admission.admitted), refused: new Map(admission.refused) }
          const names = changes.map(it => (typeof it === 'string' ? it : it.node))
          const changed = admission.update(own, table, names)
          const fresh = new Admission(dual)
          fresh.update(own, table, [])
          expect(claimsOf(fresh.admitted)).toEqual(claimsOf(slowly(dual, own, table)))
          const sound = soundClaims(dual, own, table)
          const isIn = (admitted: ReadonlyMap<string, Lease>, { node, prefix }: Claim) =>
            admitted.get(node)?.subnets.some(it => it.prefix === prefix) ?? false
          const good = sound.filter(claim => isIn(admission.admitted, claim))
          expect(claimsOf(admission.admitted)).toHaveLength(new Set(good.map(it => it.node)).size)
          for (const claim of sound) {
            const others = good.filter(it => it.node !== claim.node && overlaps(it.prefix, claim.prefix))
            expect(others.length === 0).toBe(good.includes(claim))
            if (isIn(before.admitted, claim)) expect(good).toContain(claim)
          }
          for (const node of [...table.keys(), ...before.admitted.keys()])
            if (!changed.has(node)) {
              expect(admission.admitted.get(node)).toBe(before.admitted.get(node))
              expect(admission.refused.get(node)).toBe(before.refused.get(node))
            }
        }
      }),
      { numRuns: 2000 },
    )
  }, 120_000)

  it('takes in one peer among 5,000 without looking at them all', () => {
    const leases = Array.from({ length: 5000 }, (_, i) =>
      lease(`n${i}`, i, `10.${i >> 8}.${i & 255}.0/24 at 172.16.${i >> 8}.${i & 255}`),
    )
    const network = parseNetworkConfig('{"Network":"10.0.0.0/8"}')
    const own = lease('self', 1, '10.200.0.0/24 at 192.168.0.1')
    const table = new CountingMap(leases.map(it => [it.node, it]))
    const admission = new Admission(network)
    admission.update(own, table, [])
    table.visits = 0
    for (let i = 0; i < 100; i++) {
      table.set('new', lease('new', 9999, `10.201.${i}.0/24 at 192.168.0.2`))
      expect([...admission.update(own, table, ['new'])]).toEqual(['new'])
    }
    expect(admission.admitted.size).toBe(5001)
    expect(table.visits / 100).toBeLessThan(20)
  })
})

/** Nodes and the subnets that are let in, sorted. */
function claimsOf(admitted: ReadonlyMap<string, Lease>): string[] {
  return [...admitted.values()].map(it => `${it.node}: ${printLease(it)}`).sort()
}

type Claim = Subnet & { readonly node: string }

/** What can be let in, whatever the others ask for; the oldest first. */
function soundClaims(network: NetworkConfig, own: Lease, table: LeaseTable): readonly Claim[] {
  const isOurs = (it: Subnet) =>
    own.subnets.some(({ prefix, publicIp }) => prefix === it.prefix && publicIp === it.publicIp)
  const claims = [...table.values()]
    .filter(({ node, subnets }) => node !== own.node && !subnets.every(isOurs))
    .sort((a, b) => a.since - b.since || (a.node < b.node ? -1 : 1))
    .flatMap(({ node, subnets }) => subnets.map(it => ({ node, ...it })))
  return claims.filter(({ prefix, publicIp }) => {
    return (
      couldBeLeased(network, prefix) &&
      familyOf(prefix) === familyOf(publicIp) &&
      scopeOf(publicIp) === 'global' &&
      ![...network.families.map(it => it.network), ...own.subnets.map(it => it.prefix)].some(it =>
        contains(it, publicIp),
      ) &&
      !own.subnets.some(it => overlaps(it.prefix, prefix) || it.publicIp === publicIp)
    )
  })
}

/** The rules as they read for those that come at once: the oldest first, each compared with all that were let in before it. */
function slowly(network: NetworkConfig, own: Lease, table: LeaseTable): Map<string, Lease> {
  const good: Claim[] = []
  for (const claim of soundClaims(network, own, table))
    if (!good.some(it => it.node !== claim.node && overlaps(it.prefix, claim.prefix))) good.push(claim)
  const admitted = new Map<string, Lease>()
  for (const { node, subnets, ...rest } of table.values()) {
    const left = subnets.filter(it => good.some(claim => claim.node === node && claim.prefix === it.prefix))
    if (left.length > 0) admitted.set(node, { ...rest, node, subnets: left })
  }
  return admitted
}

/** Counts the leases that are looked at. */
class CountingMap extends Map<string, Lease> {
  visits = 0

  override get(key: string): Lease | undefined {
    this.visits++
    return super.get(key)
  }

  override *[Symbol.iterator]() {
    for (const entry of super.entries()) {
      this.visits++
      yield entry
    }
    return undefined
  }

  override entries() {
    return this[Symbol.iterator]()
  }

  override *values() {
    for (const [, value] of this) yield value
    return undefined
  }
}
