import { expect, it } from 'vitest'
import type { Finding } from '../../../../agent/diagnose/doctor/finding.ts'
import { metrics } from '../../../../agent/status/http/metrics.ts'
import { status } from '../../../support/status.ts'

it('has one sample for each check and severity, with the number of findings', async () => {
  const finding: Finding = {
    check: 'pod MTU',
    severity: 'risk',
    what: '',
    evidence: '',
    cause: '',
    remedy: '',
  }
  const findings: readonly Finding[] = [finding, { ...finding, severity: 'broken' }, finding]
  const { text } = await metrics(status({ findings }))
  expect(text.split('\n').filter(line => line.startsWith('twill_findings'))).toEqual([
    'twill_findings{check="pod MTU",severity="risk"} 2',
    'twill_findings{check="pod MTU",severity="broken"} 1',
  ])
})
