import { expect, it } from 'vitest'
import { bridgeTroubles } from '../../../agent/diagnose/pod_bridge.ts'
import { parseLinks } from '../../../agent/inspect/iproute2_json.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parsePrefix } from '../../../lease/net/prefix.ts'
import { hostFacts } from '../../support/patient.ts'

it('quotes the name of a port in the command that looks at it', () => {
  const link = {
    up: true,
    carrier: true,
    mtu: 1450,
    mac: undefined,
    master: undefined,
    portState: undefined,
    noNeighbors: false,
    vxlan: undefined,
    leadsElsewhere: false,
    addresses: [],
  }
  const bridge = { ...link, name: 'cni0', kind: 'bridge' }
  const port = { ...link, name: 've;reboot', kind: 'veth', master: 'cni0', portState: 'blocking' }
  const own = { ...bridge, addresses: [{ address: parseIp('10.244.1.1'), length: 24 }] }
  const facts = hostFacts({ links: [own, port] })
  const [trouble] = bridgeTroubles(facts, [parsePrefix('10.244.1.0/24')])
  expect(trouble?.finding.remedy).toBe(
    "see bridge link show dev 've;reboot'; find the second way that leads to cni0",
  )
})

it.each([
  ['cni0', 1],
  ['cbr0', 1],
  ['kube-bridge', 1],
  ['br0', 0],
])('knows by its name a pods’ bridge that has lost its address: %s', (ifname, count) => {
  const links = parseLinks([
    { ifname, flags: ['UP'], linkinfo: { info_kind: 'bridge' } },
    { ifname: 'veth1', flags: ['UP'], master: ifname },
  ])
  const found = bridgeTroubles(hostFacts({ links }), [parsePrefix('10.244.1.0/24')])
  expect(found).toHaveLength(count)
  if (count > 0) expect(found[0]?.finding.what).toContain(`${ifname} has no address`)
})
