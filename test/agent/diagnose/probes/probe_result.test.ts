import { expect, it } from 'vitest'
import { judgeProbe, type ProbeResult } from '../../../../agent/diagnose/probes/probe_result.ts'
import { parseIp } from '../../../../lease/net/ip.ts'

it.each([
  ['flannel.7', 'ethtool -K flannel.7 tx-checksum-ip-generic off'],
  ["a'b", "ethtool -K 'a'\\''b' tx-checksum-ip-generic off"],
])('names the device of the network where TCP hangs: %s', (device, command) => {
  const [publicIp, overlayIp] = [parseIp('192.168.0.2'), parseIp('10.244.2.0')]
  const mtus = { underlayMtu: 1500, overlayMtu: 1450 }
  const target = { node: 'n2', device, publicIp, overlayIp, from: overlayIp, port: 8473, relays: [], ...mtus }
  const carried = { underlayCarries: 1500, overlayCarries: 1450, ways: null, dead: null }
  const result: ProbeResult = {
    ...{ node: 'n2', publicIp, overlayIp, underlayMs: 1, overlayMs: 1, ...carried },
    bulk: 'hangs',
  }
  expect(judgeProbe(result, target)?.remedy).toBe(`switch checksum offload off on both hosts: ${command}`)
})
