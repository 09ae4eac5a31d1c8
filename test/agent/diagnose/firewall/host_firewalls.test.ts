import { describe, expect, it } from 'vitest'
import { parseIptables } from '../../../../agent/diagnose/firewall/iptables_rules.ts'
import { parseNft } from '../../../../agent/diagnose/firewall/nft_rules.ts'
import { type BaseChain, type FirewallPacket, judge } from '../../../../agent/diagnose/firewall/verdict.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { run } from '../../../support/exec.ts'

const packet = (protocol: string, dport: number, isAnswer = false): FirewallPacket => ({
  family: 'ipv4',
  src: parseIp('192.168.50.13'),
  dst: parseIp('192.168.50.12'),
  iif: 'eth0',
  oif: undefined,
  protocol,
  dport,
  isAnswer,
})
const packets = {
  tunnel: packet('udp', 8472),
  ssh: packet('tcp', 22),
  opened: packet('tcp', 65535),
  answer: packet('tcp', 65535, true),
}

/** `drop`, `accept`, or `perhaps`, of each packet at the input hook. */
function verdicts(chains: readonly BaseChain[]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(packets).map(([name, one]) => {
      const { drop, perhaps } = judge(chains, 'input', one)
      return [name, perhaps.length > 0 ? 'perhaps' : drop ? 'drop' : 'accept']
    }),
  )
}

const withTunnel = { tunnel: 'accept', ssh: 'accept', opened: 'drop', answer: 'accept' }
const without = { ...withTunnel, tunnel: 'drop' }

describe('the firewall of an ordinary host, which lets in answers and a few ports', () => {
  const filter = (...rules: string[]) =>
    ['*filter', ':INPUT DROP [0:0]', ...rules.map(rule => `-A INPUT ${rule}`), 'COMMIT', ''].join('\n')
  const established = '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'
  const ssh = '-p tcp -m tcp --dport 22 -j ACCEPT'
  it.each([
    ['without the port of the tunnel', [established, ssh], without],
    ['with it', [established, ssh, '-p udp -m udp --dport 8472 -j ACCEPT'], withTunnel],
    ['with a range of ports', [established, ssh, '-p udp -m udp --dport 8000:9000 -j ACCEPT'], withTunnel],
    [
      'with a list of ports',
      [established, ssh, '-p udp -m multiport --dports 53,8470:8480 -j ACCEPT'],
      withTunnel,
    ],
    [
      'with other ports',
      [
        established,
        '-p tcp -m multiport --dports 22,80 -j ACCEPT',
        '-p udp -m udp ! --dport 8000:9000 -j ACCEPT',
      ],
      without,
    ],
    ['by the older match', ['-m state --state ESTABLISHED -j ACCEPT', ssh], without],
  ])('in iptables: %s', (_, rules, wanted) => {
    expect(
      verdicts(parseIptables({ family: 'ipv4', command: 'iptables-save', text: filter(...rules) })),
    ).toEqual(wanted)
  })

  const table = (...rules: string[]) =>
    `table inet filter {\n chain input {\n type filter hook input priority 0; policy drop;\n ${rules.join('\n ')}\n }\n}\n`
  it.each([
    [
      'without the port of the tunnel',
      ['ct state established,related accept', 'tcp dport 22 accept'],
      without,
    ],
    [
      'with a verdict map',
      [
        'ct state vmap { established : accept, related : accept, invalid : drop }',
        'tcp dport { 22, 80 } accept',
      ],
      without,
    ],
    [
      'with a map of ports',
      [
        'ct state vmap { established : accept, related : accept, invalid : drop }',
        'tcp dport vmap { 22 : accept }',
        'udp dport vmap { 8000-9000 : accept }',
      ],
      withTunnel,
    ],
    [
      'with a range of ports',
      ['ct state { established, related } accept', 'tcp dport 22 accept', 'udp dport 8000-9000 accept'],
      withTunnel,
    ],
    [
      'for any transport',
      ['ct state established accept', 'meta l4proto { tcp, udp } th dport { 22, 8472 } accept'],
      withTunnel,
    ],
    [
      'as firewalld writes it',
      [
        'ct state { established, related } accept',
        'ct status dnat accept',
        'iifname "lo" accept',
        'ct state invalid drop',
        'icmp type echo-request accept',
        'ip protocol icmp accept',
        'tcp dport 22 ct state { new, untracked } accept',
        'reject with icmpx type admin-prohibited',
      ],
      without,
    ],
    [
      'of the other family',
      ['ct state established accept', 'ip6 saddr != fe80::/10 accept', 'tcp dport 22 accept'],
      without,
    ],
  ])('in nft: %s', async (_, rules, wanted) => {
    expect(verdicts(await parsedNft(rules))).toEqual(wanted)
  })

  it.each([
    ['udp dport 8000-9000 drop', 'udp dport 8000-9000 drop'],
    ['udp dport { 53, 8000-9000 } drop', 'udp dport 53, 8000-9000 drop'],
    ['udp dport != 9000-9999 drop', 'udp dport != 9000-9999 drop'],
    ['ip saddr { 10.0.0.0/8, 192.168.50.13 } drop', 'ip saddr 10.0.0.0/8, 192.168.50.13 drop'],
    ['udp dport { 53, 8472 } drop', 'udp dport 53, 8472 drop'],
  ])('names the nft rule that drops the packet, as nft prints it: %s', async (rule, text) => {
    const { by } = judge(await parsedNft([rule]), 'input', packets.tunnel)
    expect(by).toContain(`input: ${text} (handle `)
  })

  async function parsedNft(rules: readonly string[]) {
    const load = ['unshare', '--net', 'sh', '-ec', 'nft -f -; nft -j list ruleset']
    const ruleset: unknown = JSON.parse(await run(load, { input: table(...rules) }))
    return parseNft(ruleset, new Set(), '')
  }
})
