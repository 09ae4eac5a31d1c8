import { expect, it } from 'vitest'
import { deviceChecks } from '../../../../agent/diagnose/doctor/device_checks.ts'
import { deviceSetting } from '../../../../agent/state/device_setting.ts'
import { hostFacts, patient } from '../../../support/patient.ts'

it("prints the setting of a device with a dot in its name as sysctl takes it, as doctor's remedy and evidence", () => {
  const sysctls = { [deviceSetting('ipv6', 'flannel.1', 'accept_ra')]: '2' }
  expect(deviceChecks(patient({ facts: hostFacts({ sysctls }) }))).toMatchObject([
    {
      check: 'router advertisements',
      evidence: 'net.ipv6.conf.flannel/1.accept_ra = 2',
      remedy: expect.stringMatching(/^sysctl -w net\.ipv6\.conf\.flannel\/1\.accept_ra=0 on the host/),
    },
  ])
})
