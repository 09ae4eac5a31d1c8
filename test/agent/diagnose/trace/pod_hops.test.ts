import { expect, it } from 'vitest'
import { forwardingHop, reversePathHop } from '../../../../agent/diagnose/trace/pod_hops.ts'
import type { Walk } from '../../../../agent/diagnose/trace/walk.ts'
import { parseRoutes, parseRules } from '../../../../agent/inspect/iproute2_json.ts'
import { deviceSetting } from '../../../../agent/state/device_setting.ts'
import { parseIp } from '../../../../lease/net/ip.ts'
import { hostFacts, nodeView } from '../../../support/patient.ts'

/** A packet to the peer's pod, on a host that routes answers over another interface. */
function walk(sysctls: Readonly<Record<string, string>>): Walk {
  const view = nodeView()
  const rules = parseRules([{ priority: 32766, src: 'all', table: 'main' }], 'ipv4')
  const routes = parseRoutes([{ dst: '10.244.2.0/24', dev: 'eth0' }], 'ipv4')
  return {
    ...view,
    facts: hostFacts({ rules, routes, sysctls }),
    from: parseIp('10.244.1.2'),
    to: parseIp('10.244.2.2'),
    wanted: [...view.desired.values()].filter(entry => entry.kind === 'route'),
  } as unknown as Walk
}

it("repairs a setting of the tunnel's device by a command that sysctl takes", () => {
  const setting = (name: string) => deviceSetting('ipv4', 'flannel.1', name)
  expect(forwardingHop(walk({ 'net.ipv4.ip_forward': '1', [setting('forwarding')]: '0' }))).toMatchObject({
    state: 'broken',
    used: 'net.ipv4.conf.flannel/1.forwarding = 0',
    remedy: 'sysctl -w net.ipv4.conf.flannel/1.forwarding=1',
  })
  expect(reversePathHop(walk({ [setting('rp_filter')]: '1' }))).toMatchObject({
    state: 'broken',
    used: 'net.ipv4.conf.flannel/1.rp_filter = 1',
    remedy: 'sysctl -w net.ipv4.conf.flannel/1.rp_filter=2 net.ipv4.conf.all.rp_filter=0',
  })
})
