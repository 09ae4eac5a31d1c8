import { writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { printEntry } from '../../agent/state/print.ts'
import { entries, entry, link } from '../support/entries.ts'
import { runSync } from '../support/exec.ts'
import { OwnBed } from '../support/kernel_bed.ts'
import { enterOwnNetns } from '../support/own_netns.ts'

const whyNot = await enterOwnNetns()
const signal = new AbortController().signal
const scope = { devices: ['flannel.1', 'flannel-v6.1'], routeProtocol: 117 }

const device =
  'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning'
const fdb = 'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2'

describe.skipIf(whyNot !== undefined)(`a device ${whyNot ?? ''}`, () => {
  let bed: OwnBed
  beforeEach(async () => {
    bed = await OwnBed.make()
  })
  afterEach(() => bed.close())

  const make = async (text: string) =>
    (await bed.kernel.apply([{ verb: 'add', entry: link(text) }], signal))[0]?.error?.message
  const listed = async () => (await bed.kernel.snapshot(scope, signal)).map(printEntry)
  const index = () => bed.ip('-o link show flannel.1').split(':')[0]

  test.each([
    ['address 02:00:00:00:00:01', 'address 02:00:00:00:00:09'],
    ['mtu 1450', 'mtu 1400'],
  ])('is changed in place, FDB and all: %s -> %s', async (from, to) => {
    await make(device)
    await bed.kernel.apply(
      entries(fdb).map(entry => ({ verb: 'add', entry })),
      signal,
    )
    const before = index()
    expect(await make(device.replace(from, to))).toBeUndefined()
    expect(await listed()).toEqual([device.replace(from, to), fdb])
    expect(index()).toBe(before)
  })

  test('is set up in place', async () => {
    await make(device)
    bed.ip('link set flannel.1 down')
    expect(await listed()).toEqual([device.replace('UP', 'DOWN')])
    expect(await make(device)).toBeUndefined()
    expect(await listed()).toEqual([device])
  })

  test('keeps its neighbors when it is asked for as it is', async () => {
    await make(device)
    const neighbor = 'neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02'
    await bed.kernel.apply(
      entries(neighbor).map(entry => ({ verb: 'add', entry })),
      signal,
    )
    await make(device)
    expect(await listed()).toEqual([device, neighbor])
  })

  test.each([
    ['local 192.168.0.1', 'local 192.168.9.1'],
    ['id 1', 'id 2'],
    ['dstport 8472', 'dstport 4789'],
    ['dev eth0', 'dev eth1'],
    ['nolearning', 'learning'],
    ['nolearning', 'nolearning gbp'],
  ])('is recreated where the kernel cannot change it: %s -> %s', async (from, to) => {
    await make(device)
    const before = index()
    expect(await make(device.replace(from, to))).toBeUndefined()
    expect(await listed()).toEqual([device.replace(from, to)])
    expect(index()).not.toBe(before)
  })

  test.each([
    [
      'link add flannel.1 type bridge',
      /^link flannel\.1 .* vxlan id 0 local 0\.0\.0\.0 dev {2}dstport 0 nolearning$/,
    ],
    [
      'link add flannel.1 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning group 239.1.1.1 proxy l3miss',
      /nolearning group 239\.1\.1\.1 proxy l3miss$/,
    ],
    ['link add flannel.1 type vxlan external dstport 8472', /nolearning external$|learning external$/],
    ['link add flannel.1 type vxlan id 1 local 192.168.0.1 dstport 8472 nolearning', / dev {2}dstport 8472/],
  ])('of our name and another kind is seen as such, and recreated: %s', async (command, seen) => {
    bed.ip(command)
    expect((await listed())[0]).toMatch(seen)
    expect(await make(device)).toBeUndefined()
    expect(await listed()).toEqual([device])
  })

  test('that flanneld made is taken over as it is', async () => {
    bed.ip(
      'link add flannel.1 address 02:00:00:00:00:01 mtu 1450 type vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
    )
    bed.ip('link set flannel.1 up')
    expect(await listed()).toEqual([device])
  })

  test('whose VNI and port another one holds names that one', async () => {
    bed.ip('link add cilium_vxlan type vxlan id 1 dstport 8472 local 192.168.0.1')
    expect(await make(device)).toBe(
      'Cannot create device flannel.1: device cilium_vxlan holds VNI 1 on UDP port 8472; set another VNI or Port in the network config, or stop the program that made it and delete it (ip link delete cilium_vxlan)',
    )
  })

  test('that the kernel makes smaller than asked for, without a word, is an error', async () => {
    const device6 =
      'link flannel-v6.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local6 fd00::1 dev eth0 dstport 8472 nolearning'
    expect(await make(device6)).toBe(
      'Cannot give device flannel-v6.1 the MTU 1450: the kernel made it 1430, what underlay interface eth0 leaves room for',
    )
    expect(await make(device6)).toMatch(/^Cannot add link flannel-v6\.1 .*: .+ \(EINVAL\)$/)
    expect(await make(device6.replace('1450', '1430'))).toBeUndefined()
  })

  test('whose underlay interface is not there says so', async () => {
    expect(await make(device.replace('dev eth0', 'dev eth7'))).toBe(
      "Cannot create device flannel.1: its underlay interface 'eth7' does not exist",
    )
  })

  test('is not made where its UDP port is taken, and names the process that has it', async () => {
    const { createSocket } = await import('node:dgram')
    const socket = createSocket('udp4')
    await new Promise<void>(resolve => socket.bind(8472, resolve))
    try {
      expect(await make(device)).toMatch(
        new RegExp(
          `^Cannot add link flannel\\.1 .*: UDP port 8472 is taken by .* \\(process ${process.pid}\\): stop it, or set another Port in the network config \\(EADDRINUSE\\)$`,
        ),
      )
    } finally {
      socket.close()
    }
  })

  test('is not made where a device with other options has its UDP port, and names that one', async () => {
    bed.ip('link add cilium_vxlan type vxlan external dstport 8472')
    bed.ip('link set cilium_vxlan up')
    expect(await make(device)).toContain(
      'UDP port 8472 is taken by device cilium_vxlan, whose options (external',
    )
  })

  test('with too small an MTU for IPv6 says that, and so does one where IPv6 is switched off', async () => {
    await make(device)
    const address = entry('address fd00::5/128 dev flannel.1')
    const refused = async () =>
      (await bed.kernel.apply([{ verb: 'add', entry: address }], signal))[0]?.error?.message
    writeFileSync('/proc/sys/net/ipv6/conf/flannel.1/disable_ipv6', '1')
    const text = await refused()
    expect(text).toMatch(
      /^Cannot add address fd00::5\/128 dev flannel\.1: net\.ipv6\.conf\.flannel\/1\.disable_ipv6 is 1: set it to 0 .*EACCES/,
    )
    runSync(/\((sysctl [^)]*)\)/.exec(text ?? '')?.[1]?.split(' ') ?? [])
    expect(await refused()).toBeUndefined()
    writeFileSync('/proc/sys/net/ipv6/conf/flannel.1/disable_ipv6', '1')
    bed.ip('link set flannel.1 mtu 1210')
    expect(await refused()).toMatch(/device flannel\.1 has MTU 1210, and IPv6 needs 1280/)
  })
})
