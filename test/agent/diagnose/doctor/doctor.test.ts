import { describe, expect, it } from 'vitest'
import { examine } from '../../../../agent/diagnose/doctor/doctor.ts'
import type { Patient } from '../../../../agent/diagnose/doctor/patient.ts'
import type { NodeView } from '../../../../agent/diagnose/node_view.ts'
import { parseLinks, parseRoutes, parseRules } from '../../../../agent/inspect/iproute2_json.ts'
import { parsePrefix } from '../../../../lease/net/prefix.ts'
import { vxlanLease } from '../../../support/leases.ts'
import { hostFacts, nodeView, patient } from '../../../support/patient.ts'

const links = parseLinks([
  { ifname: 'lo', flags: ['UP', 'LOWER_UP'], addr_info: [{ local: '127.0.0.1', prefixlen: 8 }] },
  {
    ifname: 'eth0',
    mtu: 1500,
    flags: ['BROADCAST', 'UP', 'LOWER_UP'],
    addr_info: [{ local: '192.168.0.1', prefixlen: 24 }],
  },
])
const rules = parseRules(
  [
    { priority: 0, src: 'all', table: 'local' },
    { priority: 32766, src: 'all', table: 'main' },
  ],
  'ipv4',
)
const routes = parseRoutes(
  [
    { type: 'local', dst: '192.168.0.1', dev: 'eth0', table: 'local' },
    { dst: '192.168.0.0/24', dev: 'eth0' },
    { dst: '10.244.2.0/24', gateway: '192.168.0.2', dev: 'eth0', protocol: '117' },
  ],
  'ipv4',
)

describe('doctor names each problem', () => {
  const view = nodeView()
  const found = (given: Partial<Patient>) =>
    examine(patient(given)).map(({ check, evidence }) => `${check}: ${evidence}`)

  it('of two bridges with one fault', () => {
    const bridge = (ifname: string, local: string) => ({
      ifname,
      mtu: 1500,
      flags: ['UP'],
      linkinfo: { info_kind: 'bridge' },
      addr_info: [{ local, prefixlen: 25 }],
    })
    const ports = ['cni0', 'docker0'].map(master => ({ ifname: `veth-${master}`, flags: ['UP'], master }))
    const bridges = [bridge('cni0', '10.244.1.1'), bridge('docker0', '10.244.1.129')]
    const facts = hostFacts({ links: parseLinks([...bridges, ...ports]) })
    expect(found({ facts }).filter(text => text.startsWith('pod MTU'))).toEqual([
      'pod MTU: cni0 mtu 1500, overlay 1450',
      'pod MTU: docker0 mtu 1500, overlay 1450',
    ])
  })

  it('of two other nodes with its public IP', () => {
    const clones = ['n7', 'n8'].map((node, i) =>
      vxlanLease(node, `02:00:00:00:00:0${i + 7}`, `10.244.${i + 7}.0/24 at 192.168.0.1`),
    )
    const table = new Map([...view.leases.table, ...clones.map(one => [one.node, one] as const)])
    const checks = found({ view: { ...view, leases: { ...view.leases, table } } })
    expect(checks.filter(text => text.startsWith('public IP'))).toHaveLength(2)
  })

  it('of both families, and once what a walk finds again', () => {
    const families = [...view.network.families, { family: 'ipv6', network: parsePrefix('fd00::/48') }]
    const network = { ...view.network, families } as NodeView['network']
    const sysctls = { 'net.ipv4.ip_forward': '0', 'net.ipv6.conf.all.forwarding': '0' }
    const podRoute = parseRoutes([{ dst: '10.244.1.0/24', dev: 'cni0' }], 'ipv4')
    const cni0 = { ifname: 'cni0', mtu: 1450, flags: ['UP', 'LOWER_UP'], linkinfo: { info_kind: 'bridge' } }
    const pods = { links: [...links, ...parseLinks([cni0])], rules, routes: [...routes, ...podRoute] }
    const checks = found({ view: { ...view, network }, facts: hostFacts({ ...pods, sysctls }) })
    expect(checks.filter(text => text.startsWith('forwarding'))).toEqual([
      'forwarding: net.ipv4.ip_forward = 0',
      'forwarding: net.ipv6.conf.all.forwarding = 0',
    ])
  })
})

describe('doctor on a host of a host-gw network', () => {
  const view = nodeView({ Type: 'host-gw' })
  const sysctls = { 'net.ipv4.ip_forward': '1' }
  const found = (facts: Parameters<typeof hostFacts>[0]) =>
    examine(patient({ view, facts: hostFacts({ links, rules, routes, sysctls, ...facts }) }))

  it('finds nothing on a sound host, which has no address in the overlay before its first pod', () => {
    expect(found({})).toEqual([])
  })

  it('names the route to a peer that is gone', () => {
    expect(found({ routes: routes.slice(0, 2) })).toMatchObject([{ check: 'route', severity: 'broken' }])
  })
})
