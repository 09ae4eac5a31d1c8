import { describe, expect, it } from 'vitest'
import { blockedBy, planIptables } from '../../../agent/firewall/iptables_plan.ts'
import { droppingChains } from '../../../agent/firewall/nft_mode.ts'
import {
  type IptablesChain,
  iptablesChains,
  isForeign,
  noIptablesChains,
  printNftTable,
  suffixOf,
} from '../../../agent/firewall/rules.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'

const ipv4 = { network: parsePrefix('10.244.0.0/16'), subnet: parsePrefix('10.244.1.0/24') }
const ipv6 = { network: parsePrefix('fd00:10::/48'), subnet: parsePrefix('fd00:10:0:1::/64') }
const all = { ipMasq: true, randomPorts: true, forwardRules: true }
const [masq, forward] = iptablesChains(ipv4, all) as [IptablesChain, IptablesChain]

describe('the rules', () => {
  it("are flanneld's in iptables", () => {
    expect([masq.jump, ...masq.rules, forward.jump, ...forward.rules]).toEqual([
      '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
      '-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
      '-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
      '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
      '-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
    ])
  })

  it('say the same in nft, and of IPv6', () => {
    expect(printNftTable(ipv6, all)).toBe(
      [
        'table ip6 flannel-ipv6 {',
        '	chain postrtg {',
        '		type nat hook postrouting priority srcnat; policy accept;',
        '		meta mark & 0x00004000 == 0x00004000 return',
        '		ip6 saddr fd00:10:0:1::/64 ip6 daddr fd00:10::/48 return',
        '		ip6 saddr fd00:10::/48 ip6 daddr fd00:10:0:1::/64 return',
        '		ip6 saddr != fd00:10::/48 ip6 daddr fd00:10:0:1::/64 return',
        '		ip6 saddr fd00:10::/48 ip6 daddr != ff00::/8 masquerade fully-random',
        '		ip6 saddr != fd00:10::/48 ip6 daddr fd00:10::/48 masquerade fully-random',
        '	}',
        '',
        '	chain forward {',
        '		type filter hook forward priority filter; policy accept;',
        '		ip6 saddr fd00:10::/48 accept',
        '		ip6 daddr fd00:10::/48 accept',
        '	}',
        '}',
        '',
      ].join('\n'),
    )
  })

  it('masquerade in port order where that is asked for', () => {
    const text = printNftTable(ipv4, { ...all, randomPorts: false, forwardRules: false })
    expect(text?.match(/masquerade.*/g)).toEqual(['masquerade', 'masquerade'])
    const rules = iptablesChains(ipv4, { ...all, randomPorts: false }).flatMap(chain => chain.rules)
    expect(rules.join('\n')).not.toContain('random')
  })

  it('are none where none are wanted', () => {
    const none = { ...all, ipMasq: false, forwardRules: false }
    expect(printNftTable(ipv4, none)).toBeUndefined()
    expect(iptablesChains(ipv4, none)).toEqual(noIptablesChains())
  })
})

describe('the plan for a table of iptables', () => {
  const stays = false
  const other = '-A FORWARD -i docker0 -j DOCKER-USER'
  const reject = '-A FORWARD -j REJECT --reject-with icmp-host-prohibited'
  const standing = { parent: [other, forward.jump], chain: forward.rules }

  it('is empty where all stands', () => {
    expect(planIptables(forward, standing, stays)).toEqual([])
  })

  it('makes chain and jump', () => {
    expect(planIptables(forward, { parent: [other], chain: undefined }, stays)).toEqual([
      '*filter',
      ':FLANNEL-FWD - [0:0]',
      ...forward.rules,
      forward.jump,
      'COMMIT',
    ])
  })

  it('writes a chain again that differs in one rule, and leaves the jump alone', () => {
    const chain = forward.rules.slice(1)
    expect(planIptables(forward, { ...standing, chain }, stays)).toEqual([
      '*filter',
      ':FLANNEL-FWD - [0:0]',
      ...forward.rules,
      'COMMIT',
    ])
  })

  it('takes back jumps that are there twice', () => {
    const parent = [forward.jump, other, forward.jump]
    expect(planIptables(forward, { ...standing, parent }, stays)).toEqual([
      '*filter',
      forward.jump.replace('-A', '-D'),
      'COMMIT',
    ])
  })

  it('moves a jump only where it is asked to and something is in the way', () => {
    const parent = [reject, forward.jump]
    expect(blockedBy(forward, parent)).toBe(reject)
    expect(planIptables(forward, { ...standing, parent }, stays)).toEqual([])
    expect(planIptables(forward, { ...standing, parent }, true)).toEqual([
      '*filter',
      '-D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-I FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      'COMMIT',
    ])
    expect(planIptables(forward, standing, true)).toEqual([])
  })

  it('takes a drop under a condition for none of our business', () => {
    const parent = ['-A FORWARD -m conntrack --ctstate INVALID -j DROP', forward.jump]
    expect(blockedBy(forward, parent)).toBeUndefined()
    expect(blockedBy(forward, [forward.jump, reject])).toBeUndefined()
  })

  it('removes a chain that is not wanted', () => {
    const [, none] = noIptablesChains()
    expect(planIptables(none, standing, stays)).toEqual([
      '*filter',
      ':FLANNEL-FWD - [0:0]',
      '-D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-X FLANNEL-FWD',
      'COMMIT',
    ])
    expect(planIptables(none, { parent: [other], chain: undefined }, stays)).toEqual([])
  })
})

it('finds base chains that drop by policy', () => {
  const listing = [
    'table ip filter {',
    '	chain INPUT {',
    '		type filter hook input priority filter; policy drop;',
    '	}',
    '	chain FORWARD {',
    '		type filter hook forward priority filter; policy drop;',
    '	}',
    '}',
    'table ip6 filter {',
    '	chain FORWARD {',
    '		type filter hook forward priority filter; policy accept;',
    '	}',
    '}',
  ].join('\n')
  expect(droppingChains(listing)).toEqual(['ip filter FORWARD'])
})

describe("another network's rules", () => {
  const other = { network: parsePrefix('10.5.0.0/16'), subnet: parsePrefix('10.5.1.0/24') }
  const dual = { network: parsePrefix('fd00:5::/48'), subnet: parsePrefix('fd00:5:0:1::/64') }

  it('are told by the prefixes that they name, in both tongues', () => {
    for (const family of [other, dual]) {
      const own = [family.network]
      for (const { rules } of iptablesChains(family, all)) {
        expect(isForeign(rules.join('\n'), own)).toBe(false)
        expect(isForeign(rules.join('\n'), [ipv4.network, ipv6.network])).toBe(true)
      }
      expect(isForeign(printNftTable(family, all) ?? '', own)).toBe(false)
      expect(isForeign(printNftTable(family, all) ?? '', [ipv4.network, ipv6.network])).toBe(true)
    }
    expect(isForeign('', [])).toBe(false)
  })

  it('leave ours names with a suffix that fit into 28 characters', () => {
    const suffix = suffixOf(other.network)
    const [masq, forward] = iptablesChains(other, all, suffix)
    expect(masq?.chain).toMatch(/^FLANNEL-POSTRTG-[0-9a-f]{8}$/)
    expect(forward?.jump).toBe(`-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD${suffix}`)
    expect(printNftTable(other, all, suffix)?.split('\n')[0]).toBe(`table ip flannel-ipv4${suffix} {`)
    expect(suffixOf(ipv4.network)).not.toBe(suffix)
  })
})
