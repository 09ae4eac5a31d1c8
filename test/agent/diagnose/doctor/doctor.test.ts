import { describe, expect, it } from 'vitest'
import { examine } from '../../../../agent/diagnose/doctor/doctor.ts'
import { parseLinks, parseRoutes, parseRules } from '../../../../agent/inspect/iproute2_json.ts'
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
