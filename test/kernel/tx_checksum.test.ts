import { execFileSync } from 'node:child_process'
import { release } from 'node:os'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isFaultyKernel, type TxChecksum } from '../../agent/kernel/apply/tx_checksum.ts'
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

/** As ethtool sees it: `on` or `off`. */
const offload = () => /^tx-checksumming: (\w+)/m.exec(ethtool('-k', 'flannel.1'))?.[1]
const ethtool = (...words: string[]) => execFileSync('ethtool', words, { encoding: 'utf8' })

describe.skipIf(whyNot !== undefined)(`checksums of a device by hardware ${whyNot ?? ''}`, () => {
  let bed: OwnBed
  beforeEach(async () => {
    bed = await OwnBed.make()
  })
  afterEach(() => bed.close())

  const kernel = async (txChecksum: TxChecksum) => {
    const one = await NetlinkKernel.open({ txChecksum })
    const [made] = await one.apply([{ verb: 'add', entry: device }], signal)
    expect(made?.error).toBeUndefined()
    return one
  }

  test.each([
    ['off', 'on'],
    ['on', 'off'],
  ] as const)(
    'are switched %s with the device, and again after another program switched them',
    async (wanted, other) => {
      const one = await kernel(wanted)
      expect(offload()).toBe(wanted)
      ethtool('-K', 'flannel.1', 'tx', other)
      expect(offload()).toBe(other)
      await one.devices(scope, signal)
      expect(offload()).toBe(wanted)
      one.close()
    },
  )

  test.skipIf(isFaultyKernel(release()))('are left as an operator set them on a sound kernel', async () => {
    const one = await kernel('auto')
    expect(offload()).toBe('on')
    ethtool('-K', 'flannel.1', 'tx', 'off')
    await one.devices(scope, signal)
    expect(offload()).toBe('off')
    one.close()
  })
})
