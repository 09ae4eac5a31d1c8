import { describe, expect, it } from 'vitest'
import { parseNft } from '../../../../agent/diagnose/firewall/nft_rules.ts'
import { type FirewallPacket, judge } from '../../../../agent/diagnose/firewall/verdict.ts'
import { familyOf, parseIp } from '../../../../lease/net/ip.ts'
import { run } from '../../../support/exec.ts'

function packet(src: string, dport = 8472, more: Partial<FirewallPacket> = {}): FirewallPacket {
  const [from, to] = [parseIp(src), parseIp(src.includes(':') ? 'fd00::12' : '192.168.50.12')]
  const way = { family: familyOf(from), src: from, dst: to, iif: 'eth0', oif: undefined }
  return { ...way, protocol: 'udp', dport, ...more }
}

/** The chains of an nft table with these sets, and these rules before a policy that accepts. */
async function chainsOf(sets: string, rules: readonly string[]) {
  const chain = `chain input {\ntype filter hook input priority 0\n${rules.join('\n')}\n}\n`
  const input = `table inet filter {\n${sets}\nchain other {\ndrop\n}\n${chain}}\n`
  const load = [
    'unshare',
    '--net',
    'sh',
    '-ec',
    'ip link set lo up; nft -f -; nft -j list ruleset 2>/dev/null',
  ]
  return parseNft(JSON.parse(await run(load, { input })), new Set(), '')
}

/** What the rules do with the packets: `drop`, `accept`, or `perhaps`. */
async function verdicts(sets: string, rules: readonly string[], packets: readonly FirewallPacket[]) {
  const chains = await chainsOf(sets, rules)
  return packets.map(one => {
    const { drop, perhaps } = judge(chains, 'input', one)
    return perhaps.length > 0 ? 'perhaps' : drop ? 'drop' : 'accept'
  })
}

const [a, b, far] = [packet('192.168.50.1'), packet('192.168.50.77'), packet('10.9.9.9')]
const [a6, b6] = [packet('fd00::1'), packet('fd00::77')]

describe('named sets of nft', () => {
  const plain = 'set peers { type ipv4_addr; elements = { 192.168.50.1, 192.168.50.2 }; }'
  const intervals =
    'set peers { type ipv4_addr; flags interval; elements = { 10.1.2.3, 10.9.0.0/16, 192.168.50.70-192.168.50.80 }; }'
  const intervals6 =
    'set peers { type ipv6_addr; flags interval; auto-merge; elements = { fd00::70-fd00::80, fd01::/64 }; }'
  const counted = 'set peers { type ipv4_addr; counter; elements = { 192.168.50.1 comment "first" }; }'
  const both =
    'set peers { type ipv4_addr . inet_service; elements = { 192.168.50.1 . 8472, 192.168.50.77 . 80 }; }'
  const three =
    'set peers { type ipv4_addr . inet_proto . inet_service; flags interval; elements = { 192.168.50.0/26 . udp . 8000-9000, 10.0.0.0-10.255.255.255 . tcp . 8472 }; }'

  it.each([
    ['in a set', plain, 'ip saddr @peers drop', ['drop', 'accept', 'accept']],
    ['not in a set', plain, 'ip saddr != @peers drop', ['accept', 'drop', 'drop']],
    [
      'in none that is empty',
      'set peers { type ipv4_addr; }',
      'ip saddr @peers drop',
      Array(3).fill('accept'),
    ],
    ['in a set with intervals', intervals, 'ip saddr @peers drop', ['accept', 'drop', 'drop']],
    ['not in it', intervals, 'ip saddr != @peers drop', ['drop', 'accept', 'accept']],
    ['in a set with counters', counted, 'ip saddr @peers drop', ['drop', 'accept', 'accept']],
    ['in a concatenation', both, 'ip saddr . udp dport @peers drop', ['drop', 'accept', 'accept']],
    ['not in it', both, 'ip saddr . udp dport != @peers drop', ['accept', 'drop', 'drop']],
    [
      'in one with intervals',
      three,
      'ip saddr . meta l4proto . th dport @peers drop',
      ['drop', 'accept', 'accept'],
    ],
    [
      'on an interface of a set',
      'set ports { type ifname; elements = { "eth0", "lo" }; }',
      'iifname @ports drop',
      ['drop', 'drop', 'drop'],
    ],
    [
      'on an interface of a set of names’ starts',
      'set ports { type ifname; flags interval; elements = { "et*", "lo" }; }',
      'iifname @ports drop',
      ['drop', 'drop', 'drop'],
    ],
    [
      'to a port of a set',
      'set ports { type inet_service; flags interval; elements = { 22, 8000-9000 }; }',
      'udp dport @ports drop',
      ['drop', 'drop', 'drop'],
    ],
  ])('hold or do not hold a packet: %s', async (_, set, rule, wanted) => {
    expect(await verdicts(set, [rule], [a, b, far])).toEqual(wanted)
  })

  it('hold IPv6 addresses, which no rule for IPv4 matches', async () => {
    const rules = ['ip6 saddr @peers drop', 'ip saddr != 0.0.0.0/0 drop']
    expect(await verdicts(intervals6, rules, [a6, b6])).toEqual(['accept', 'drop'])
    const mapped = 'set peers { type ipv6_addr; elements = { ::ffff:192.0.2.1 }; }'
    expect(await verdicts(mapped, rules, [a6, packet('::ffff:c000:201')])).toEqual(['accept', 'drop'])
  })

  it.each([
    [
      'a set whose elements expire',
      'set peers { type ipv4_addr; flags timeout; timeout 1h; elements = { 192.168.50.1 }; }',
      [],
    ],
    [
      'a set that a rule fills',
      'set peers { type ipv4_addr; flags dynamic; size 9; }',
      ['tcp dport 22 add @peers { ip saddr }'],
    ],
  ])('are uncertain: %s', async (_, set, rules) => {
    expect(await verdicts(set, [...rules, 'ip saddr @peers drop'], [a, a6])).toEqual(['perhaps', 'accept'])
  })

  it('of one name are told apart by their tables', async () => {
    const other = `}\ntable ip filter {\n set peers { type ipv4_addr; elements = { 10.9.9.9 }; }\n}\ntable inet filter {`
    expect(await verdicts(`${plain}\n${other}`, ['ip saddr @peers drop'], [a, far])).toEqual([
      'drop',
      'accept',
    ])
  })
})

describe('anonymous sets of nft', () => {
  it.each([
    ['ip saddr { 10.1.2.3, 10.9.0.0/16, 192.168.50.70-192.168.50.80 } drop', ['accept', 'drop', 'drop']],
    ['ip saddr 192.168.50.70-192.168.50.80 drop', ['accept', 'drop', 'accept']],
    ['ip saddr != { 192.168.50.70-192.168.50.80, 10.0.0.0/8 } drop', ['drop', 'accept', 'accept']],
    ['ip saddr { 192.168.50.1 counter, 10.9.9.9 comment "far" } drop', ['drop', 'accept', 'drop']],
    [
      'ip saddr . udp dport { 192.168.50.1 . 80, 192.168.50.64/26 . 8000-9000 } drop',
      ['accept', 'drop', 'accept'],
    ],
    ['ip saddr . tcp dport { 192.168.50.1 . 8472 } drop', ['accept', 'accept', 'accept']],
    ['ip saddr . ct state { 192.168.50.1 . new, 10.9.9.9 . established } drop', ['drop', 'accept', 'accept']],
    // The source port is not known.
    ['ip saddr . udp sport { 192.168.50.1 . 8472 } drop', ['perhaps', 'accept', 'accept']],
    ['ip saddr . udp sport != { 192.168.50.1 . 8472 } drop', ['perhaps', 'perhaps', 'perhaps']],
    ['meta mark { 0x0, 0x10-0x1f } drop', ['drop', 'drop', 'drop']],
    ['ether saddr != 02:00:00:00:00:01 drop', ['perhaps', 'perhaps', 'perhaps']],
  ])('%s', async (rule, wanted) => {
    expect(await verdicts('', [rule], [a, b, far])).toEqual(wanted)
  })
})

describe('verdict maps of nft', () => {
  const maps = `
    map plain { type ipv4_addr : verdict; elements = { 192.168.50.1 : drop, 192.168.50.77 : jump other }; }
    map intervals { type ipv4_addr : verdict; flags interval; elements = { 192.168.50.0/26 : accept, 10.0.0.0-10.255.255.255 : goto other }; }
    map counted { type inet_service : verdict; counter; elements = { 8472 : drop }; }
    map both { type ipv4_addr . inet_service : verdict; elements = { 192.168.50.77 . 8472 : drop }; }
    map rest { type ipv4_addr : verdict; elements = { 192.168.50.1 : accept, * : drop }; }
    map late { type ipv4_addr : verdict; flags timeout; elements = { 192.168.50.1 : drop }; }`
  it.each([
    ['ip saddr vmap @plain', ['drop', 'drop', 'accept']],
    ['ip saddr vmap @intervals', ['accept', 'accept', 'drop']],
    ['udp dport vmap @counted', ['drop', 'drop', 'drop']],
    ['tcp dport vmap @counted', ['accept', 'accept', 'accept']],
    ['ip saddr . udp dport vmap @both', ['accept', 'drop', 'accept']],
    ['ip saddr vmap @rest', ['accept', 'drop', 'drop']],
    ['ip saddr vmap @late', ['perhaps', 'perhaps', 'perhaps']],
    ['ip saddr vmap { 192.168.50.1 : continue, 192.168.50.64/26 : drop }', ['accept', 'drop', 'accept']],
    [
      'ip saddr . udp dport vmap { 192.168.50.1 . 80 : drop, 10.0.0.0/8 . 8472 : drop }',
      ['accept', 'accept', 'drop'],
    ],
    ['ip saddr . udp sport vmap { 192.168.50.1 . 80 : drop }', ['perhaps', 'accept', 'accept']],
  ])('%s', async (rule, wanted) => {
    expect(await verdicts(maps, [rule], [a, b, far])).toEqual(wanted)
  })
})

describe('a rule that drops', () => {
  it.each([
    ['ip saddr @peers drop', 'ip saddr @peers drop'],
    ['ip saddr != @empty drop', 'ip saddr != @empty drop'],
    [
      'ip saddr . udp dport { 192.168.50.0/24 . 8000-9000 } drop',
      'ip saddr . udp dport 192.168.50.0/24 . 8000-9000 drop',
    ],
    ['ip saddr vmap { 192.168.50.1 : drop }', 'ip saddr vmap 192.168.50.1'],
    ['@th,96,24 5 drop', '@th,96,24 5 drop'],
  ])('is named: %s', async (rule, text) => {
    const sets = 'set peers { type ipv4_addr; elements = { 192.168.50.1 }; }\nset empty { type ipv4_addr; }'
    const { by } = judge(await chainsOf(sets, [rule]), 'input', { ...a, vni: 5 })
    expect(by).toContain(`input: ${text} (handle `)
  })

  it('is named by its first hundred elements at most', async () => {
    const many = Array.from({ length: 5_000 }, (_, n) => `10.0.${n >> 8}.${n & 255}`)
    const { by } = judge(await chainsOf('', [`ip saddr != { ${many.join(', ')} } drop`]), 'input', a)
    expect(by?.length).toBeLessThan(2_000)
    expect(by).toMatch(/, \.\.\. drop/)
  })
})
