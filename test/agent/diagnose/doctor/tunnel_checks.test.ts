import { describe, expect, it } from 'vitest'
import { tunnelChecks } from '../../../../agent/diagnose/doctor/tunnel_checks.ts'
import { run } from '../../../support/exec.ts'
import { hostFacts, nodeView, patient } from '../../../support/patient.ts'
import { tunnelFilterRules } from '../../../support/tunnel_filter_rules.ts'

const established = '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'
const ssh = '-p tcp -m tcp --dport 22 -j ACCEPT'

describe("doctor's look at the tunnel of a host without peers yet", () => {
  const found = (rules: readonly string[], { alone = true, policy = 'DROP' } = {}) => {
    const view = nodeView()
    if (alone) (view.leases.table as Map<string, unknown>).delete('n2')
    const input = rules.map(rule => `-A INPUT ${rule}\n`).join('')
    const text = `*filter\n:INPUT ${policy} [0:0]\n${input}COMMIT\n`
    const iptables = [{ family: 'ipv4' as const, command: 'iptables-save', text }]
    return tunnelChecks(patient({ view, facts: hostFacts({ iptables }) }))
  }

  const foundInNft = async (nftables: unknown) => {
    const view = nodeView()
    ;(view.leases.table as Map<string, unknown>).delete('n2')
    return tunnelChecks(patient({ view, facts: hostFacts({ nftables }) }))
  }

  it('names the firewall that drops it, as ufw does where only SSH is let in', () => {
    expect(found([established, ssh])).toEqual([
      expect.objectContaining({
        check: 'firewall, UDP 8472 in',
        severity: 'risk',
        evidence: 'iptables filter INPUT policy drop',
      }),
    ])
  })

  it.each([
    ['it lets the port in', [established, '-p udp -m udp --dport 8472 -j ACCEPT'], {}],
    [
      'it lets the port in from hosts that may become peers',
      ['-s 192.168.7.7/32 -p udp -m udp --dport 8472 -j ACCEPT'],
      {},
    ],
    ['it lets all in', [], { policy: 'ACCEPT' }],
    ['there are peers, to whom the ways are walked', [established], { alone: false }],
  ])('says nothing where %s', (_, rules, options) => {
    expect(found(rules, options)).toEqual([])
  })
  it('says nothing where only the tunnel filter drops it, which learns each peer', async () => {
    expect(await foundInNft(await tunnelFilterRules([]))).toEqual([])
  })

  it.each([
    ['nodes', ['ip saddr . udp dport @nodes accept'], 0],
    ['nodes, whose map it is', ['ip saddr . udp dport vmap @verdicts'], 0],
    ['administrators', ['ip saddr @admins tcp dport 22 accept'], 1],
  ])('looks at sets of nft, which may hold the peers to come: %s', async (_, rules, findings) => {
    const sets =
      'set nodes { type ipv4_addr . inet_service; }; map verdicts { type ipv4_addr . inet_service : verdict; }; set admins { type ipv4_addr; };'
    const chain = `chain input { type filter hook input priority 0; policy drop; ${rules.join('; ')}; }`
    const load = ['unshare', '--net', 'sh', '-ec', 'nft -f -; nft -j list ruleset']
    const ruleset = await run(load, { input: `table inet filter { ${sets} ${chain}; }` })
    expect(await foundInNft(JSON.parse(ruleset))).toHaveLength(findings)
  })
})
