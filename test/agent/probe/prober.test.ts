import { expect, it } from 'vitest'
import { probe } from '../../../agent/probe/prober.ts'
import { parseIp } from '../../../lease/net/ip.ts'

it('asks no agent, and pings, where the probe port is 0', async () => {
  const [from, overlayIp] = [parseIp('127.0.0.71'), parseIp('127.0.0.72')]
  const mtus = { underlayMtu: 1500, overlayMtu: 1450 }
  const target = {
    node: 'n2',
    device: 'flannel.1',
    publicIp: overlayIp,
    overlayIp,
    from,
    port: 0,
    relays: [],
    ...mtus,
  }
  expect(await probe(target, new AbortController().signal)).toMatchObject({
    overlayMs: expect.any(Number),
    overlayCarries: 1450,
    ways: null,
    dead: null,
    bulk: null,
  })
})
