import { describe, expect, it } from 'vitest'
import { Bed, whyNoBed } from './bed.ts'
import { wireByHand } from './hand_made.ts'

describe.skipIf(whyNoBed() !== undefined)('an overlay made by hand', () => {
  it.each(['vxlan', 'host-gw'] as const)('carries pods of both families over %s', async backend => {
    await using bed = await Bed.create()
    const lan = await bed.segment('lan', ['192.168.50.0/24', 'fd50::/64'])
    const hosts = [await bed.host('h1', lan), await bed.host('h2', lan)]
    await wireByHand(hosts, { backend, families: ['ipv4', 'ipv6'] })
    const [p1, p2] = await Promise.all(hosts.map(host => host.pod()))
    expect(await p1?.ping('10.99.2.2')).toHaveLength(3)
    expect(await p2?.ping('fd99:0:0:1::2')).toHaveLength(3)
  })
})
