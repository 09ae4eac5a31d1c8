import { beforeEach, describe, expect, it } from 'vitest'
import type { UnderlaySource } from '../../../agent/kernel/kernel.ts'
import type { InterfaceFacts } from '../../../agent/state/underlay_facts.ts'
import { UnderlayWatch } from '../../../agent/underlay/underlay_watch.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { parseNetworkConfig } from '../../../lease/network_config.ts'
import { RecordingLog } from '../../support/log.ts'

const network = parseNetworkConfig('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
const { signal } = new AbortController()
const eth0 = (ip: string, underlayMtu = 1500): InterfaceFacts => ({
  index: 2,
  name: 'eth0',
  underlayMtu,
  up: true,
  loopback: false,
  vxlan: undefined,
  addresses: [
    {
      address: parseIp(ip),
      length: 24,
      scope: 'global',
      permanent: true,
      deprecated: false,
      temporary: false,
      tentative: false,
    },
  ],
})

describe('a watch on the underlay', () => {
  let interfaces: InterfaceFacts[]
  let log: RecordingLog
  let watch: UnderlayWatch
  beforeEach(async () => {
    interfaces = [eth0('192.168.0.1')]
    log = new RecordingLog()
    const source: UnderlaySource = { listInterfaces: async () => interfaces, listRoutes: async () => [] }
    const wish = {
      iface: ['eth0'],
      ifaceRegex: [],
      ifaceCanReach: undefined,
      publicIps: { ipv4: undefined, ipv6: undefined },
    }
    watch = new UnderlayWatch(source, { devices: [], routeProtocol: 117 }, network, wish, log)
    await watch.choose(signal)
  })

  it('is silent while nothing changes', async () => {
    expect(await watch.review(signal)).toBeUndefined()
    expect(log.lines).toHaveLength(1)
  })

  it.each([
    ['address', eth0('192.168.0.2')],
    ['MTU', eth0('192.168.0.1', 1400)],
  ])('tells of another %s, once', async (_, changed) => {
    interfaces = [changed]
    expect(await watch.review(signal)).toMatchObject({ underlayMtu: changed.underlayMtu })
    expect(await watch.review(signal)).toBeUndefined()
    expect(log.said('external interface chosen')).toHaveLength(2)
  })

  it('keeps its choice while there is none, says so once, and is well again by itself', async () => {
    interfaces = []
    expect([await watch.review(signal), await watch.review(signal)]).toEqual([undefined, undefined])
    expect(watch.trouble).toMatch(/^Cannot choose an external interface/)
    expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
    interfaces = [eth0('192.168.0.1')]
    expect(await watch.review(signal)).toBeUndefined()
    expect(watch.trouble).toBeUndefined()
  })
})
