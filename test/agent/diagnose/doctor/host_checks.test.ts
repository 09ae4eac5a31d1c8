import { describe, expect, it } from 'vitest'
import { hostChecks } from '../../../../agent/diagnose/doctor/host_checks.ts'
import { paths } from '../../../../agent/install/plan.ts'
import { hostFacts, nodeView, patient } from '../../../support/patient.ts'

const found = (...given: Parameters<typeof patient>) => hostChecks.flatMap(check => check(patient(...given)))

describe("doctor's remedies on the host", () => {
  it('keep forwarding on by a file that twill install does not write', () => {
    const [finding] = found({ facts: hostFacts({ sysctls: { 'net.ipv4.ip_forward': '0' } }) })
    expect(finding?.remedy).toBe(
      'sysctl -w net.ipv4.ip_forward=1; to keep it: echo net.ipv4.ip_forward=1 >> /etc/sysctl.d/91-forwarding.conf',
    )
    for (const path of Object.values(paths)) expect(finding?.remedy).not.toContain(path)
  })

  it("switch checksum offload off on the network's own device", () => {
    const view = nodeView({ Type: 'vxlan', VNI: 7 })
    const [finding] = found({ view, agent: undefined, kernelRelease: '4.19.0' })
    expect(finding?.remedy).toBe('ethtool -K flannel.7 tx-checksum-ip-generic off, or a newer kernel')
  })
})
