import { describe, expect, it } from 'vitest'
import { probeTargets } from '../../../../agent/diagnose/probes/probe_targets.ts'
import { nodeView } from '../../../support/patient.ts'

describe('the peer that is probed', () => {
  const nodes = (word: string) => probeTargets(nodeView(), word, 8473).map(({ node }) => node)
  it.each(['n2', '192.168.0.2', '10.244.2.0', '10.244.2.7'])(
    'is named by its name or by an address: %s',
    word => {
      expect(nodes(word)).toEqual(['n2'])
    },
  )
  it.each(['n3', '192.168.0.3', '10.244.3.1', 'fd00::1', '10.244.2.300'])('is none: %s', word => {
    expect(() => nodes(word)).toThrow(
      `There is no peer '${word}' that can be probed: twill map lists the nodes`,
    )
  })
  it("has this host's tunnel device, whatever its VNI", () => {
    const [target] = probeTargets(nodeView({ Type: 'vxlan', VNI: 7 }), 'n2', 8473)
    expect(target?.device).toBe('flannel.7')
  })
  it.each(['n2', 'n3'])('is none in a network without tunnels: %s', word => {
    expect(() => probeTargets(nodeView({ Type: 'host-gw' }), word, 8473)).toThrow(
      "A host-gw network has no tunnel to probe: ping the peer's public IP, and see twill trace",
    )
  })
  it.each(['n1', '192.168.0.1', '10.244.1.3'])('is not this host: %s', word => {
    expect(() => nodes(word)).toThrow(`'${word}' is this host itself`)
  })
})
