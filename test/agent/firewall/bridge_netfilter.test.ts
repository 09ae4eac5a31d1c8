import { expect, it } from 'vitest'
import { bridgeRemedy } from '../../../agent/firewall/bridge_netfilter.ts'

it('names the command that lets bridged packets pass iptables', () => {
  expect(bridgeRemedy('bridge-nf-call-iptables', '1\n')).toBeUndefined()
  expect(bridgeRemedy('bridge-nf-call-ip6tables', '0\n')).toEqual({
    why: '/proc/sys/net/bridge/bridge-nf-call-ip6tables is 0',
    command: 'run sysctl -w net.bridge.bridge-nf-call-ip6tables=1',
  })
  expect(bridgeRemedy('bridge-nf-call-iptables', undefined)?.command).toMatch(/^run modprobe br_netfilter/)
})
