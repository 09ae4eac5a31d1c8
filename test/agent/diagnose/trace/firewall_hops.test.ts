import { describe, expect, it } from 'vitest'
import { trace } from '../../../../agent/diagnose/trace/trace.ts'
import { parseRoutes } from '../../../../agent/inspect/iproute2_json.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { hostFacts, nodeView } from '../../../support/patient.ts'
import { tunnelFilterRules } from '../../../support/tunnel_filter_rules.ts'

const [from, to] = [parseIp('10.244.1.0'), parseIp('10.244.2.2')]

it.each([
  [['-m foo --bar -j DROP'], '1 rule decides by what cannot be judged here: '],
  [['-m foo --bar -j DROP', '-m foo --baz -j DROP'], '2 rules decide by what cannot be judged here: '],
])('counts the rules that it cannot judge: %s', (rules, why) => {
  const view = nodeView()
  const text = ['*filter', ':INPUT ACCEPT [0:0]', ...rules.map(rule => `-A INPUT ${rule}`), 'COMMIT', '']
  const iptables = [{ family: 'ipv4' as const, command: 'iptables-save', text: text.join('\n') }]
  const { hops } = trace({ ...view, leases: view.leases.table, facts: hostFacts({ iptables }) }, from, to)
  const found = hops.find(({ step }) => step === 'firewall, UDP 8472 in')
  expect(found?.why?.startsWith(why)).toBe(true)
})

describe('trace through the tunnel filter of this host', () => {
  /** The firewall's hops on the way to the peer at 192.168.0.2. */
  async function hops(peers: readonly string[], { vni = 1, dev = 'eth0' } = {}) {
    const view = nodeView({ Type: 'vxlan', VNI: vni })
    const routes = parseRoutes([{ dst: '192.168.0.0/24', dev }], 'ipv4')
    const facts = hostFacts({ nftables: await tunnelFilterRules(peers), routes })
    const { hops } = trace({ ...view, leases: view.leases.table, facts }, from, to)
    return hops.filter(({ step }) => step.startsWith('firewall'))
  }

  it('judges it: the packets of a peer in its set pass', async () => {
    const found = await hops(['192.168.0.2', '192.168.0.3', 'fd00::2'])
    expect(found).toHaveLength(4)
    expect(found.filter(({ state, why }) => state !== 'ok' || why !== undefined)).toEqual([])
  })

  it('judges it too where the peer’s packets come in by another interface, as its route says', async () => {
    const found = await hops(['192.168.0.2'], { dev: 'eth1' })
    expect(found.filter(({ state, why }) => state !== 'ok' || why !== undefined)).toEqual([])
  })

  it.each([
    ['which holds others', ['192.168.0.3']],
    ['which is empty', []],
  ])('names the peer that its set lacks, %s', async (_, peers) => {
    const found = (await hops(peers)).filter(({ state }) => state !== 'ok')
    expect(found).toEqual([
      {
        step: 'firewall, UDP 8472 in',
        state: 'broken',
        used: expect.stringMatching(
          /^nft inet twill-flannel\.1 tunnel: ip saddr != @peers4 drop \(handle \d+\)$/,
        ),
        why: expect.stringContaining('192.168.0.2 is not in its set of peers'),
        remedy: expect.stringContaining('twill status'),
      },
    ])
  })

  it('knows that it filters one VNI alone', async () => {
    expect((await hops([], { vni: 2 })).filter(({ state }) => state !== 'ok')).toEqual([])
  })
})
