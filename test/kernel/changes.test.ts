import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DeviceSettings } from '../../agent/kernel/apply/device_settings.ts'
import type { KernelChange } from '../../agent/kernel/kernel.ts'
import { NetlinkKernel } from '../../agent/kernel/netlink_kernel.ts'
import { Subscription } from '../../agent/kernel/notifications/subscription.ts'
import { Messages } from '../../agent/netlink/codec/message.ts'
import { NetlinkRequests } from '../../agent/netlink/requests.ts'
import { loadLibc } from '../../agent/netlink/socket/libc.ts'
import { loadRawSocket, type RawSocketEvents } from '../../agent/netlink/socket/raw_socket.ts'
import { printEntry } from '../../agent/state/print.ts'
import { adding } from '../contract/kernel.ts'
import { entries } from '../support/entries.ts'
import { runSync } from '../support/exec.ts'
import { OwnBed } from '../support/kernel_bed.ts'
import { enterOwnNetns } from '../support/own_netns.ts'

const whyNot = await enterOwnNetns()
/** linux/rtnetlink.h: #define RTM_GETLINK 18 */
const RTM_GETLINK = 18
const scope = { devices: ['flannel.1', 'flannel-v6.1'], routeProtocol: 117 }
interface Told {
  everything: string[]
  devices: string[]
  dropped: string[]
  underlay: boolean
  present: string[]
  gone: string[]
}
interface ToldOptions {
  readonly changes?: AsyncIterable<KernelChange>
  readonly isAll?: (told: Told) => boolean
}
const nothing: Told = { everything: [], devices: [], dropped: [], underlay: false, present: [], gone: [] }
const programmed = `
  link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning
  address 10.1.1.0/32 dev flannel.1
  fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2
  neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02
  route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink`

describe.skipIf(whyNot !== undefined)(`changes of the kernel ${whyNot ?? ''}`, () => {
  let bed: OwnBed
  let stop: AbortController
  beforeEach(async () => {
    bed = await OwnBed.make()
    stop = new AbortController()
    for (const { error } of await bed.kernel.apply(adding(entries(programmed)), stop.signal))
      if (error !== undefined) throw error
  })
  afterEach(() => {
    stop.abort(new Error('the test is over'))
    bed.close()
  })

  /**
   * What is told of what `act` does, up to a mark that is set afterwards: one of our routes. And then until
   * `isAll`: the kernel announces an IPv6 address from a work queue, at times after the mark.
   */
  const toldOf = async (
    act: () => void,
    { changes = bed.kernel.changes(scope, stop.signal), isAll = () => true }: ToldOptions = {},
  ) => {
    const told: Told = { everything: [], devices: [], dropped: [], underlay: false, present: [], gone: [] }
    const iterator = changes[Symbol.asyncIterator]()
    let isMarked = false
    // The first value is taken once the subscription knows what there is.
    const first = iterator.next()
    await bed.kernel.listInterfaces(stop.signal)
    act()
    bed.ip('route add blackhole 10.99.0.0/16 proto 117')
    for (let next = await first; !next.done; next = await iterator.next()) {
      const { entries, devices, everything, underlay } = next.value
      told.devices.push(...devices.map(({ reason }) => reason))
      told.dropped.push(...devices.filter(({ hasDropped }) => hasDropped).map(({ name }) => name))
      if (everything !== undefined) told.everything.push(everything)
      told.underlay ||= underlay
      const others = entries.filter(({ key }) => !key.includes('10.99.0.0'))
      for (const { key, entry } of others)
        if (entry === undefined) told.gone.push(key)
        else told.present.push(printEntry(entry))
      isMarked ||= others.length < entries.length || everything !== undefined
      if (isMarked && isAll(told)) break
    }
    await iterator.return?.()
    bed.ip('route delete blackhole 10.99.0.0/16 proto 117')
    return told
  }

  test.each([
    ['link set flannel.1 down', 'device flannel.1 was set down', true],
    ['link set flannel.1 mtu 1400', 'device flannel.1 changed its MTU from 1450 to 1400', false],
    [
      'link set flannel.1 address 02:00:00:00:00:09',
      'device flannel.1 changed its MAC from 02:00:00:00:00:01 to 02:00:00:00:00:09',
      false,
    ],
    ['link delete flannel.1', 'device flannel.1 was deleted', true],
    [
      'link set flannel.1 name gone.1',
      'device flannel.1 was set down; device flannel.1 was renamed from flannel.1 to gone.1',
      true,
    ],
    ['link delete eth0', 'device flannel.1 was deleted', true],
    ['address delete 10.1.1.0/32 dev flannel.1', 'device flannel.1 lost its address 10.1.1.0/32', true],
    [
      'link add flannel-v6.1 type vxlan id 1 local fd00::1 dev eth0 dstport 8472',
      'device flannel-v6.1 appeared',
      false,
    ],
  ])(
    'of one of our devices are told, and whether entries went with it: %s',
    async (command, reason, hasDropped) => {
      const { devices, dropped } = await toldOf(() => bed.ip(command))
      expect(devices.join('; ')).toContain(reason.split('; ').at(-1))
      expect(dropped.length > 0).toBe(hasDropped)
    },
  )

  test('of an address that is not the last one drop nothing else', async () => {
    bed.ip('address add 10.1.1.9/32 dev flannel.1')
    const told = await toldOf(() => bed.ip('address delete 10.1.1.9/32 dev flannel.1'))
    expect(told).toEqual({ ...nothing, gone: ['address 10.1.1.9/32 dev flannel.1'] })
  })

  test('are not told where one of our devices is set to what it is, or its counters move', async () => {
    const told = await toldOf(() => {
      bed.ip('link set flannel.1 up')
      bed.ip('link set flannel.1 mtu 1450')
      bed.ip('link set flannel.1 txqueuelen 500')
      bed.ip('link set peer0 down')
      bed.ip('link set peer0 up')
    })
    expect(told).toEqual(nothing)
  })

  test('of other devices, pods, neighbors and routes are not told', async () => {
    const told = await toldOf(() => {
      bed.batch([
        'link add cni0 type bridge',
        'link set cni0 up',
        ...[1, 2, 3].flatMap(n => [
          `link add veth${n} type veth peer name pod${n}`,
          `link set veth${n} master cni0 up`,
          `link set pod${n} up`,
          `neigh add fd00::5${n} lladdr 02:00:00:00:01:0${n} dev eth0 nud reachable`,
          `route add 10.45.${n}.0/24 dev cni0 table 100`,
        ]),
        'link set veth1 nomaster',
        'link delete veth2',
        'link delete veth3',
      ])
    })
    expect(told).toEqual(nothing)
  })

  test.each([
    ['address add 192.168.0.5/24 dev eth0'],
    ['address delete 192.168.9.1/24 dev eth1'],
    ['-6 address add fd00::5/64 dev eth0 nodad'],
    ['link set eth1 down'],
    ['link set eth1 mtu 1400'],
    ['link delete eth1'],
    ['route add default via 192.168.0.254'],
    ['route add 172.16.0.0/12 via 192.168.0.254'],
  ])('of the underlay are told as such and ask for no full pass: %s', async command => {
    const told = await toldOf(() => bed.ip(command), { isAll: ({ underlay }) => underlay })
    expect(told).toMatchObject({ everything: [], underlay: true, present: [] })
  })

  test.each([
    ['ip rule add to 10.1.0.0/16 table 52 pref 100'],
    ['ip -6 rule add to fd00::/16 prohibit pref 100'],
    ['sysctl -qw net.ipv4.ip_forward=0'],
    ['sysctl -qw net.ipv6.conf.all.forwarding=0'],
    ['sysctl -qw net.ipv4.conf.all.rp_filter=1'],
  ])('of rules and of forwarding are told as changes of the underlay: %s', async command => {
    runSync(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
    runSync(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0'])
    const act = () => expect(runSync(['sh', '-c', command])).toMatchObject({ code: 0 })
    expect(await toldOf(act)).toMatchObject({ everything: [], underlay: true, present: [] })
  })

  test('of the settings of one device, as each pod brings some, are not told', async () => {
    const act = () => void runSync(['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/conf/eth1/rp_filter'])
    expect(await toldOf(act)).toMatchObject(nothing)
  })

  test.each([
    ['link set eth1 down', 'device eth1 was set down'],
    ['link delete eth1', 'device eth1 was deleted'],
    ['address delete 192.168.9.1/24 dev eth1', 'device eth1 lost its address 192.168.9.1/24'],
  ])('of an interface with our routes tell that these may be gone: %s', async (command, reason) => {
    bed.ip('route add 10.1.7.0/24 via 192.168.9.7 dev eth1 proto 117')
    const { devices, dropped, underlay } = await toldOf(() => bed.ip(command))
    expect(devices.join('; ')).toContain(reason)
    expect([dropped, underlay]).toEqual([['eth1'], true])
  })

  test('beyond the room in the receive queue ask to look at everything, and end nothing', async () => {
    const open = await loadRawSocket()
    const requests = new NetlinkRequests(open)
    const changes = new Subscription({ open, requests, scope, receiveBytes: 256 * 1024 }, stop.signal)
    const storm = Array.from({ length: 20_000 }, (_, i) => {
      const address = `192.168.${16 + (i >> 8)}.${i & 255}`
      return `neigh replace ${address} lladdr 02:00:00:00:00:07 dev eth1 nud permanent`
    })
    // Both children run while this process does nothing else, and the queue overflows.
    const { everything } = await toldOf(() => bed.batch(storm), { changes })
    expect(everything.join('; ')).toContain('the notification socket overflowed')
    // And it keeps listening, and knows its devices.
    const later = new Subscription({ open, requests, scope }, stop.signal)
    const after = await toldOf(() => bed.ip('neigh delete 10.1.2.0 dev flannel.1'), { changes: later }).catch(
      String,
    )
    expect(after).toMatchObject({ gone: ['neighbor 10.1.2.0 dev flannel.1'] })
    requests.close()
  })

  test('continues after an overflow with the devices that came meanwhile', async () => {
    const open = await loadRawSocket()
    const requests = new NetlinkRequests(open)
    const changes = new Subscription({ open, requests, scope, receiveBytes: 64 * 1024 }, stop.signal)
    const iterator = changes[Symbol.asyncIterator]()
    const first = iterator.next()
    await bed.kernel.listInterfaces(stop.signal)
    bed.batch([
      ...Array.from(
        { length: 5000 },
        (_, i) =>
          `neigh replace 192.168.${16 + (i >> 8)}.${i & 255} lladdr 02:00:00:00:00:07 dev eth1 nud permanent`,
      ),
      'link delete flannel.1',
      'link add flannel.1 address 02:00:00:00:00:01 mtu 1450 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
      'link set flannel.1 up',
    ])
    expect((await first).value?.everything).toContain('the notification socket overflowed')
    bed.ip('neigh add 10.1.3.0 lladdr 02:00:00:00:00:03 dev flannel.1 nud permanent')
    const { value } = await iterator.next()
    expect(value?.entries.map(({ key }) => key)).toEqual(['neighbor 10.1.3.0 dev flannel.1'])
    await iterator.return()
    requests.close()
  })

  test('that are not read yet do not mislead: entries land on a device that was just made again', async () => {
    bed.kernel.changes(scope, stop.signal)
    await bed.kernel.listInterfaces(stop.signal)
    bed.batch([
      'link delete flannel.1',
      'link add flannel.1 address 02:00:00:00:00:01 mtu 1450 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
      'link set flannel.1 up',
    ])
    const added = adding(entries(programmed)).slice(1)
    const results = await bed.kernel.apply(added, stop.signal)
    expect(results.map(({ error }) => error?.message)).toEqual(added.map(() => undefined))
    const standing = (await bed.kernel.snapshot(scope, stop.signal)).map(printEntry)
    expect(standing).toEqual(entries(programmed).map(printEntry))
  })

  test('over a socket that failed are forgotten: the kernel is asked no more about devices than before', async () => {
    const openSocket = await loadRawSocket()
    const [opened, sent]: [RawSocketEvents[], number[]] = [[], []]
    const kernel = new NetlinkKernel(
      (events, receiveBytes) => {
        opened.push(events)
        const socket = openSocket(events, receiveBytes)
        const send = (datagram: Buffer) => {
          const messages = new Messages(datagram)
          while (messages.next()) sent.push(messages.type)
          socket.send(datagram)
        }
        return { ...socket, send }
      },
      new DeviceSettings(await loadLibc(), 'auto'),
    )
    const failing = kernel.changes(scope, stop.signal)[Symbol.asyncIterator]().next()
    opened[0]?.onFailure(new Error('the socket failed'))
    await expect(failing).rejects.toThrow('the socket failed')
    expect(getEventListeners(stop.signal, 'abort')).toHaveLength(0)
    kernel.changes(scope, stop.signal)
    await kernel.listInterfaces(stop.signal)
    sent.length = 0
    await kernel.apply(
      adding(entries('neighbor 10.1.3.0 dev flannel.1 lladdr 02:00:00:00:00:03')),
      stop.signal,
    )
    expect(sent).not.toContain(RTM_GETLINK)
    stop.abort(new Error('the test is over'))
    expect(getEventListeners(stop.signal, 'abort')).toHaveLength(0)
    kernel.close()
  })
})
