import { createSocket } from 'node:dgram'
import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { printEntry } from '../../agent/state/print.ts'
import { link } from '../support/entries.ts'
import { OwnBed } from '../support/kernel_bed.ts'
import { enterOwnNetns } from '../support/own_netns.ts'
import { routerAdvertisement } from '../support/router_advertisement.ts'
import { until } from '../support/until.ts'

const whyNot = await enterOwnNetns()
const scope = { devices: ['flannel.1'], routeProtocol: 117 }
const device =
  'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning'
const acceptRa = '/proc/sys/net/ipv6/conf/flannel.1/accept_ra'

describe.skipIf(whyNot !== undefined)(`a router advertisement through the tunnel ${whyNot ?? ''}`, () => {
  let bed: OwnBed
  beforeEach(async () => {
    bed = await OwnBed.make()
  })
  afterEach(() => bed.close())

  const defaultRoute = () => bed.ip('-6 route show default')

  test('leaves a default route and that of its prefix, which count as drift, where the kernel still takes advertisements', async () => {
    const abort = new AbortController()
    await bed.kernel.apply([{ verb: 'add', entry: link(device) }], abort.signal)
    // As it is where /proc/sys is read-only.
    writeFileSync(acceptRa, '1')
    const changes = bed.kernel.changes(scope, abort.signal)[Symbol.asyncIterator]()
    await until('the default route', async () => {
      await send(routerAdvertisement(1))
      return defaultRoute() !== ''
    })
    const routes = (await bed.kernel.snapshot(scope, abort.signal)).filter(({ kind }) => kind === 'route')
    expect(routes.map(printEntry)).toEqual([
      'route 2001:db8:bad::/64 dev flannel.1 proto kernel metric 256',
      'route default via fe80::bad dev flannel.1 proto ra metric 1024 metrics',
    ])
    const told = await changes.next()
    expect(told.value.everything).toContain('kernel route changed on flannel.1')
    const deletions = routes.map(entry => ({ verb: 'delete', entry }) as const)
    const deleted = await bed.kernel.apply(deletions, abort.signal)
    expect(deleted.map(({ error }) => error)).toEqual([undefined, undefined])
    expect(bed.ip('-6 route show dev flannel.1')).toBe('fe80::/64 proto kernel metric 256 pref medium')
    abort.abort()
  })

  test('is not taken, also where another program switched that on at the device', async () => {
    const { signal } = new AbortController()
    await bed.kernel.apply([{ verb: 'add', entry: link(device) }], signal)
    const settings = [
      acceptRa,
      ...['ipv4', 'ipv6'].map(ip => `/proc/sys/net/${ip}/conf/flannel.1/accept_redirects`),
    ]
    const values = () => settings.map(path => readFileSync(path, 'latin1').trim())
    expect(values()).toEqual(['0', '0', '0'])
    for (const path of settings) writeFileSync(path, '1')
    await bed.kernel.devices(scope, signal)
    expect(values()).toEqual(['0', '0', '0'])
  })
})

/** By the local address: the VXLAN socket takes it from any sender. */
async function send(datagram: Buffer): Promise<void> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve, reject) =>
    socket.send(datagram, 8472, '192.168.0.1', error => (error ? reject(error) : resolve())),
  )
  socket.close()
}
