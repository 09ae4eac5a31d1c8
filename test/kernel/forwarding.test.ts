import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NetlinkKernel } from '../../agent/kernel/netlink_kernel.ts'
import { link } from '../support/entries.ts'
import { OwnBed } from '../support/kernel_bed.ts'
import { enterOwnNetns } from '../support/own_netns.ts'

const whyNot = await enterOwnNetns()
const signal = new AbortController().signal
const scope = { devices: ['flannel.1'], routeProtocol: 117 }
const device = link(
  'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning',
)
const ofHost = '/proc/sys/net/ipv4/ip_forward'
const ofDevice = '/proc/sys/net/ipv4/conf/flannel.1/forwarding'
const read = () => readFileSync(ofDevice, 'latin1').trim()

describe.skipIf(whyNot !== undefined)(`IPv4 packets from the tunnel ${whyNot ?? ''}`, () => {
  let bed: OwnBed
  beforeEach(async () => {
    bed = await OwnBed.make()
  })
  afterEach(() => bed.close())

  test('are passed on again where a program left the device out, unless the host passes on none', async () => {
    const kernel = await NetlinkKernel.open()
    writeFileSync(ofHost, '1')
    const [made] = await kernel.apply([{ verb: 'add', entry: device }], signal)
    expect(made?.error).toBeUndefined()
    writeFileSync(ofDevice, '0')
    expect(read()).toBe('0')
    await kernel.devices(scope, signal)
    expect(read()).toBe('1')
    writeFileSync(ofHost, '0')
    expect(read()).toBe('0')
    await kernel.devices(scope, signal)
    expect(read()).toBe('0')
    kernel.close()
  })
})
