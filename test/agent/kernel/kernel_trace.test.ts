import { expect, it } from 'vitest'
import { KernelTrace } from '../../../agent/kernel/kernel_trace.ts'
import { entry } from '../../support/entries.ts'

it('shows what is asked of the kernel and what it says, as iproute2 prints it', () => {
  const lines: string[] = []
  const trace = new KernelTrace(line => lines.push(line))
  const route = entry('route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink')
  const was = entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.3')
  const fdb = entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2')
  trace.read('devices', 2)
  trace.applied([
    { operation: { verb: 'replace', entry: fdb, was }, error: undefined },
    { operation: { verb: 'add', entry: route }, error: new Error('Nexthop has invalid gateway') },
  ])
  trace.changed({
    entries: [
      { key: 'route 10.244.2.0/24', entry: route },
      { key: 'fdb 02:00:00:00:00:02 dev flannel.1', entry: undefined },
    ],
    devices: [{ name: 'flannel.1', reason: 'device flannel.1 was set down', hasDropped: true }],
    everything: 'the notification socket overflowed',
    underlay: true,
  })
  expect(lines).toEqual([
    '? devices: 2',
    '> replace fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 (was: fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.3)',
    '> add route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink: Nexthop has invalid gateway',
    '< route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    '< gone fdb 02:00:00:00:00:02 dev flannel.1',
    '< device flannel.1 was set down',
    '< look at all: the notification socket overflowed',
    '< an interface, address or route of the host changed',
  ])
})
