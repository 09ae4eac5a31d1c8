import { describe, expect, it } from 'vitest'
import { tunnelChecks } from '../../../../agent/diagnose/doctor/tunnel_checks.ts'
import { hostFacts, nodeView, patient } from '../../../support/patient.ts'

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
})
