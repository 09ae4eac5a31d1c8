import { describe, expect, it } from 'vitest'
import { withProbes } from '../../../../agent/diagnose/probes/doctor_probes.ts'
import type { ProbeDocument } from '../../../../agent/diagnose/probes/probe_result.ts'
import { ExpectedError } from '../../../../lease/common/errors.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { vxlanLease } from '../../../support/leases.ts'
import { nodeView } from '../../../support/patient.ts'

const two = nodeView()
const third = vxlanLease('n3', '02:00:00:00:00:03', '10.244.3.0/24 at 192.168.0.3')
const three = { ...two, leases: { ...two.leases, table: new Map([...two.leases.table, ['n3', third]]) } }
const { signal } = new AbortController()

const document = (underlayMs: number | null): ProbeDocument => ({
  node: 'n2',
  publicIp: parseIp('192.168.0.2'),
  overlayIp: parseIp('10.244.2.0'),
  underlayMs,
  overlayMs: underlayMs,
  underlayCarries: null,
  overlayCarries: null,
  ways: null,
  dead: null,
  bulk: null,
  finding: underlayMs === null ? { what: 'it is silent', remedy: 'wake it' } : null,
})
const found = async (view: typeof two, silent: readonly string[]) => {
  const probe = async (peer: string) => [document(silent.includes(peer) ? null : 1)]
  const findings = await withProbes([], view, { probe, back: async () => [] }, signal)
  return findings.map(({ severity, what }) => `${severity}: ${what.replace(/:.*/, '')}`)
}

describe("doctor's probes", () => {
  it('find nothing where all peers answer', async () => {
    expect(await found(three, [])).toEqual([])
  })

  it('quote the name of a peer in the command that probes it again', async () => {
    const probe = async () => {
      throw new ExpectedError('too busy')
    }
    const lease = vxlanLease('n2;reboot', '02:00:00:00:00:02', '10.244.2.0/24 at 192.168.0.2')
    const view = { ...two, leases: { ...two.leases, table: new Map([[lease.node, lease]]) } }
    const [finding] = await withProbes([], view, { probe, back: async () => [] }, signal)
    expect(finding?.remedy).toBe("twill probe 'n2;reboot', which waits longer")
  })

  it('quote the interface in the command for a host that is cut off', async () => {
    const view = { ...three, underlay: { ...three.underlay, name: 'eth0;reboot' } }
    const probe = async () => [document(null)]
    const [finding] = await withProbes([], view, { probe, back: async () => [] }, signal)
    expect(finding?.remedy).toMatch(/; tc filter show dev 'eth0;reboot' egress$/)
  })

  it('take this host for cut off where no peer answers at all, and not where one does', async () => {
    expect(await found(three, ['n2', 'n3'])).toEqual([
      'broken: no peer answers, neither on the underlay nor over the overlay',
    ])
    expect(await found(three, ['n2'])).toEqual(['risk: it is silent'])
    // One peer alone tells nothing of this host.
    expect(await found(two, ['n2'])).toEqual(['risk: it is silent'])
  })

  it('are not sent where there is no tunnel to probe', async () => {
    expect(await found(nodeView({ Type: 'host-gw' }), ['n2'])).toEqual([])
  })

  it('ask what the peer sees of the way back, and keep to what is sure', async () => {
    const hop = (step: string, state: 'broken' | 'unknown') => ({ step, state, used: 'what it saw' })
    const back = async () => [hop('source pod', 'broken'), hop('MTU', 'unknown'), hop('forwarding', 'broken')]
    const findings = await withProbes([], two, { probe: async () => [document(1)], back }, signal)
    expect(findings).toMatchObject([
      { check: 'peer', severity: 'risk', what: expect.stringMatching(/pods of n2 .* at: forwarding$/) },
    ])
  })
})
