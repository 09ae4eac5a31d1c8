import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { Monitor } from '../support/monitor.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { bothWays, lostWhile, untilReached } from '../support/pings.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const other =
  '{"PublicIP":"192.168.50.99","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}}'

describe.skipIf(why !== undefined)('an agent that loses its lease or its store', () => {
  let overlay: OverlayBed
  let h1: Host
  let h2: Host
  let agents: Agent[]

  beforeEach(async () => {
    overlay = await overlayBed('lost', ['h1', 'h2'])
    ;[h1, h2] = overlay.hosts as [Host, Host]
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
  })
  afterEach(() => overlay.dispose())

  it('claims a deleted lease again at once, and changes nothing in the kernel', async () => {
    agents = await overlay.startAgents()
    await settled(h1)
    const [before, lease] = [await overlayText(h1), await leaseOf(h1)]
    const monitor = await Monitor.start(h1)
    await overlay.etcd.ctl('del', keyOf(h1))
    await until('the lease to be back', async () => (await leaseOf(h1)) === lease)
    expect(await overlayText(h1)).toBe(before)
    expect(await monitor.heard()).toEqual([])
    await monitor.stop()
    await until('h1 to be ready', async () => (await h1.readyz()).body === 'flanneld is ready')
  })

  it('keeps forwarding when another node holds it, says which and what to do, and has it back when that node goes', async () => {
    agents = await overlay.startAgents()
    const pods = await Promise.all([h1.pod(), h2.pod()])
    const [from, to] = pods
    await untilReached(to, from.address())
    const before = await overlayText(h1)
    // A frozen agent follows no key: it is h1 alone that could lose packets.
    agents[1]?.process.signal('SIGSTOP')
    const lost = await lostWhile(bothWays(from, to), async () => {
      await overlay.etcd.ctl('put', keyOf(h1), other)
      await until('h1 to be not ready', async () => (await h1.readyz()).status === 503)
      await agents[0]?.logs(/192\.168\.50\.99/)
    })
    expect(lost).toEqual([])
    expect((await h1.readyz()).body).toContain('192.168.50.99')
    expect(
      agents[0]?.log().filter(line => line.level === 'error' && line.msg.includes('192.168.50.99')),
    ).toHaveLength(1)
    expect(await overlayText(h1)).toBe(before)
    agents[1]?.process.signal('SIGCONT')
    const neighbors = () => h2.exec(['ip', 'neigh', 'show', 'dev', 'flannel.1', 'nud', 'permanent'])
    await until('h2 to follow the key', async () => (await neighbors()).includes('lladdr 02:00:00:00:00:99'))

    await overlay.etcd.ctl('del', keyOf(h1))
    await until('h1 to be ready again', async () => (await h1.readyz()).status === 200)
    expect(await leaseOf(h1)).toContain(h1.address())
    await untilReached(to, from.address())
  })

  it('ends with an exit code of its own where it was told to', async () => {
    agents = await overlay.startAgents(['--lease-lost=exit'])
    await overlay.etcd.ctl('put', keyOf(h1), other)
    expect((await agents[0]?.process.exited)?.code).toBe(3)
  })

  it('starts without etcd from what it saw last, even after a reboot, and is not ready until etcd is back', async () => {
    agents = await overlay.startAgents()
    await until('both to see each other', async () =>
      (await h1.routes()).some(line => line.includes('onlink')),
    )
    const pods = await Promise.all([h1.pod(), h2.pod()])
    const before = await overlayText(h1)
    for (const agent of agents) await agent.stop()
    await overlay.etcd.stop('SIGKILL')
    await h1.ip(['link del flannel.1'])

    const again = h1.launchAgent({ endpoints: overlay.etcd.endpoints })
    await until('the overlay to be up again', async () => (await overlayText(h1)) === before, {
      otherwise: () => again.process.text(),
    })
    expect(await pods[0]?.ping(pods[1]?.addresses[0] ?? '')).toHaveLength(3)
    expect((await h1.readyz()).status).toBe(503)
    expect((await h1.httpGet(8081, '/metrics'))?.body).toMatch(/^twill_store_up 0$/m)

    await overlay.etcd.restart()
    await until('h1 to be ready', async () => (await h1.readyz()).status === 200, {
      otherwise: () => again.process.text(),
    })
    expect(await overlayText(h1)).toBe(before)
  })

  /** Duplicate address detection takes a second or two, and announces its end. */
  async function settled(host: Host): Promise<void> {
    const addresses = () => host.exec(['ip', '-6', 'address', 'show'])
    await until('all addresses to be usable', async () => !(await addresses()).includes('tentative'))
    await until('the peer', async () => (await host.routes()).some(line => line.includes('onlink')))
  }

  function keyOf(host: Host): string {
    return `/coreos.com/network/subnets/${(host.subnetEnv().FLANNEL_SUBNET ?? '').replace('.1/', '.0-')}`
  }

  async function leaseOf(host: Host): Promise<string> {
    return await overlay.etcd.ctl('get', keyOf(host))
  }
})
