import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { dualStack, type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { routerAdvertisement } from '../support/router_advertisement.ts'
import { until } from '../support/until.ts'

/** As in a container that is not privileged. */
const readOnlySysctls = [
  'unshare',
  '--mount',
  'sh',
  '-euc',
  'mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; exec "$@"',
  'sh',
]

describe.skipIf(whyNoBed() !== undefined)(
  'router advertisements through the tunnel, /proc/sys read-only',
  () => {
    let overlay: OverlayBed
    let victim: Host
    let attacker: Host
    let agent: Agent
    beforeAll(async () => {
      overlay = await overlayBed('advertised', ['h1', 'h2'])
      ;[victim, attacker] = overlay.hosts as [Host, Host]
      await overlay.configure(dualStack)
      // 2: also where packets are forwarded.
      await victim.sysctl({ 'ipv6/conf/default/accept_ra': 2 })
      const { endpoints } = overlay.etcd
      agent = await victim.startAgent({ endpoints, wrapper: readOnlySysctls })
    })
    afterAll(() => overlay.dispose())

    /** The VXLAN port takes a datagram from any sender. */
    const attack = async () => {
      const file = join(attacker.directory, 'advertisement')
      writeFileSync(file, routerAdvertisement(1))
      const sends = victim.addresses.map(address => `cat ${file} >/dev/udp/${address}/8472`)
      await attacker.exec(['bash', '-euc', sends.join('\n')])
    }
    const devices = ['flannel.1', 'flannel-v6.1']
    /** What an advertisement makes. */
    const made = async () => {
      const show = devices.map(
        dev =>
          `ip -6 route show dev ${dev}; ip -6 -o address show dev ${dev}; ip -6 route show default dev ${dev}`,
      )
      const lines = (await victim.exec(['sh', '-c', show.join('; ')])).split('\n')
      return lines.filter(line => /2001:db8:bad:|^default/.test(line))
    }

    it('leave no default route, no route of a prefix and no address on our devices', async () => {
      const monitor = victim.spawn(['ip', 'monitor', 'address', 'route'])
      const parts = devices.flatMap(dev => [
        new RegExp(`^default via fe80::bad dev ${dev}`, 'm'),
        new RegExp(`^2001:db8:bad::/64 dev ${dev}`, 'm'),
        // Told when it is taken back, too: before that only once duplicate address detection is over.
        new RegExp(`^(Deleted )?\\d+: ${dev} +inet6 2001:db8:bad:`, 'm'),
      ])
      const takes = async () => {
        await attack()
        return parts.every(part => part.test(monitor.text()))
      }
      const otherwise = () => monitor.text()
      await until('the kernel to take all parts of it on both devices', takes, { otherwise })
      await until('all of it to be gone', async () => (await made()).length === 0)
      expect((await victim.readyz()).status).toBe(200)
    })

    it('are named as what /proc/sys could not be told to refuse', async () => {
      const answer = async () => (await victim.httpGet(8081, '/readyz?verbose'))?.body ?? ''
      await until('the finding', async () => (await answer()).includes('accept_ra'))
      const said = agent.log().filter(({ msg }) => msg.includes('accept_ra'))
      expect(said.map(({ msg }) => devices.filter(dev => msg.includes(dev.replace('.', '/'))))).toEqual(
        devices.map(dev => [dev]),
      )
    })
  },
)
