import { describe, expect, it } from 'vitest'
import { examine } from '../../../agent/diagnose/doctor/doctor.ts'
import type { HostFacts } from '../../../agent/diagnose/host_facts.ts'
import { trace } from '../../../agent/diagnose/trace/trace.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { hostFacts, nodeView, patient } from '../../support/patient.ts'

const view = nodeView()
const notInstalled = "'ip -j -d address show': not installed"

describe('a host that iproute2 does not show', () => {
  const examined = (facts: HostFacts) => examine(patient({ facts }))

  it('is not taken for broken by the doctor, which says what it could not see', () => {
    expect(examined(hostFacts({ unseen: [notInstalled] }))).toMatchObject([
      { check: 'unseen', severity: 'unseen', evidence: notInstalled },
    ])
    expect(examined(hostFacts())).toContainEqual(expect.objectContaining({ severity: 'broken' }))
  })

  it('is no broken hop of a trace', () => {
    const walk = (facts: HostFacts) =>
      trace({ ...view, leases: view.leases.table, facts }, parseIp('10.244.1.0'), parseIp('10.244.2.2'))
    expect(walk(hostFacts({ unseen: [notInstalled] }))).toMatchObject({
      broken: null,
      hops: [
        { step: 'lease', state: 'ok' },
        { step: 'host', state: 'unknown' },
      ],
    })
    expect(walk(hostFacts()).broken).not.toBeNull()
  })

  it('has no hop for neighbors and FDB entries that were not read', () => {
    const steps = (facts: HostFacts) =>
      trace(
        { ...view, leases: view.leases.table, facts },
        parseIp('10.244.1.0'),
        parseIp('10.244.2.2'),
      ).hops.map(({ step }) => step)
    const unread = steps({ ...hostFacts(), fdb: undefined })
    expect(steps(hostFacts()).filter(step => !unread.includes(step))).toEqual(['neighbor', 'FDB'])
  })

  it('has an unknown firewall hop where the rules could not be read, and no accepted one', () => {
    const denied = "'iptables-save': Permission denied (you must be root)"
    const noNft = "'nft -j list ruleset': not installed"
    const states = (unseen: readonly string[]) =>
      trace(
        { ...view, leases: view.leases.table, facts: hostFacts({ unseen }) },
        parseIp('10.244.1.0'),
        parseIp('10.244.2.2'),
      )
        .hops.filter(({ step }) => step.startsWith('firewall'))
        .map(({ state, why }) => [state, why])
    expect(new Set(states([denied]).map(String))).toEqual(new Set([`unknown,${denied}`]))
    expect(new Set(states([noNft]).map(([state]) => state))).toEqual(new Set(['ok']))
    expect(states([noNft, "'iptables-save': not installed"])[0]?.[0]).toBe('unknown')
    expect(states(["'ip6tables-save': no answer in time"])[0]?.[0]).toBe('ok')
  })
})
