import { describe, expect, it } from 'vitest'
import { openBackend } from '../../../../agent/backend/registry.ts'
import type { NodeView } from '../../../../agent/diagnose/node_view.ts'
import { wayBack } from '../../../../agent/diagnose/probes/way_back.ts'
import type { Trace } from '../../../../agent/diagnose/trace/trace.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { parseNetworkConfig } from '../../../../lease/network_config/parser.ts'
import { vxlanLease } from '../../../support/leases.ts'

const network = parseNetworkConfig('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
const leases = [1, 2, 3, 4, 5, 6].map(n =>
  vxlanLease(`n${n}`, `02:00:00:00:00:0${n}`, `10.244.${n}.0/24 at 192.168.0.${n}`),
)
const table = new Map(leases.map(lease => [lease.node, lease]))
const view: NodeView = {
  network,
  backend: openBackend(network),
  storeKind: 'etcd',
  self: table.get('n1'),
  underlay: { name: 'eth0', underlayMtu: 1500, publicIps: [], localIps: [], onLink: [] },
  leases: { table, changed: new Set(), problems: [] },
  refused: new Map([['n3', 'no reason']]),
  desired: new Map(),
}
const there: Trace = {
  from: parseIp('10.244.1.7'),
  to: parseIp('10.244.2.9'),
  peer: 'n2',
  hops: [],
  broken: null,
  unseen: [],
  back: null,
}
const { signal } = new AbortController()
const answering = (answer: object) => async () => ({ answer: new Map(Object.entries(answer)), via: null })

describe('the way back', () => {
  it('is asked of the peer, or through a few others that are not refused', async () => {
    const asked: unknown[] = []
    await wayBack(
      view,
      there,
      8473,
      async (peer, question) => {
        asked.push([peer.overlayIp, peer.relays.map(({ node }) => node), question])
        return { answer: new Map(), via: null }
      },
      signal,
    )
    expect(asked).toEqual([
      ['10.244.2.0', ['n4', 'n5', 'n6'], { ask: 'trace', from: '10.244.2.9', to: '10.244.1.7' }],
    ])
  })

  it('is not asked where it does not matter, or cannot be', async () => {
    const ask = answering({})
    const broken = { step: 'route', state: 'broken', used: '' } as const
    for (const local of [
      { ...there, broken },
      { ...there, peer: 'n1' },
      { ...there, peer: null },
    ])
      expect(await wayBack(view, local, 8473, ask, signal)).toBeNull()
    expect((await wayBack(view, there, 0, ask, signal))?.silent).toMatch(/--probe-port=0/)
    const foreign = { ...there, from: parseIp('10.244.4.4') }
    expect((await wayBack(view, foreign, 8473, ask, signal))?.silent).toMatch(/not in this host's subnet/)
  })

  it('takes of a hostile answer no more than hops, cut and few', async () => {
    const hop = { step: 'x'.repeat(9_999), state: 'ok', used: { toString: 1 }, remedy: null, more: 1 }
    const answer = {
      hops: [...Array(999).fill(hop), { state: 'fine' }, 7, null],
      unseen: Array(999).fill(8),
    }
    const back = await wayBack(view, there, 8473, answering(answer), signal)
    expect(back?.hops).toHaveLength(64)
    expect(back?.hops[0]).toEqual({ step: 'x'.repeat(500), state: 'ok', used: '' })
    expect(back?.unseen).toHaveLength(16)
    for (const other of [{}, { hops: 'x' }, { hops: [{ state: 'fine' }, 7, null] }])
      expect((await wayBack(view, there, 8473, answering(other), signal))?.hops).toEqual([])
  })
})
