import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { Monitor } from '../support/monitor.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { sharedByTests } from '../support/shared_by_tests.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('an agent that ends', () => {
  let overlay: OverlayBed
  let agent: Agent
  let h1: Host
  let whole: string

  sharedByTests(async () => {
    overlay = await overlayBed('restart', ['h1', 'h2', 'h3'])
    await overlay.configure({
      Network: '10.244.0.0/16',
      EnableIPv6: true,
      IPv6Network: 'fd10:244::/32',
      IPv6SubnetLen: 64,
      Backend: { Type: 'vxlan' },
    })
    ;[agent] = (await overlay.startAgents()) as [Agent]
    h1 = overlay.hosts[0] as Host
    await until('all peers on h1', async () => (await overlayText(h1)).split('onlink').length === 5)
    // Duplicate address detection takes a second or two, and announces its end.
    const addresses = () => h1.exec(['ip', '-6', 'address', 'show'])
    await until('all addresses to be usable', async () => !(await addresses()).includes('tentative'))
    whole = await overlayText(h1)
    return overlay
  })

  const restart = async (flags: readonly string[] = []) => {
    agent = await h1.startAgent({ endpoints: overlay.etcd.endpoints, flags })
  }

  it.each(['SIGTERM', 'SIGINT', 'SIGKILL'] as const)(
    'by %s leaves the kernel as it is, and finds it right when it starts again: not one change is announced',
    async signal => {
      const monitor = await Monitor.start(h1)
      const subnets = await overlay.etcd.ctl('get', '--prefix', '/coreos.com/network/subnets')
      const file = h1.subnetEnv()
      await agent.stop(signal)
      expect(await overlayText(h1)).toBe(whole)
      await restart()
      expect(await monitor.heard()).toEqual([])
      expect(await overlayText(h1)).toBe(whole)
      expect(await overlay.etcd.ctl('get', '--prefix', '/coreos.com/network/subnets')).toBe(subnets)
      expect(h1.subnetEnv()).toEqual(file)
      await monitor.stop()
    },
  )

  it('and starts with other flags, as another version may, rewrites nothing that is right', async () => {
    const monitor = await Monitor.start(h1)
    await agent.stop()
    await restart(['--resync=1', '--v=1', '--iptables-forward-rules=false'])
    await until('three full passes', async () => (await h1.metric('twill_full_passes_total')) >= 3)
    expect(await monitor.heard()).toEqual([])
    await monitor.stop()
  })

  it('while things change finds them wrong and puts them right, and these alone', async () => {
    await agent.kill9()
    const [line = ''] = (await h1.exec(['bridge', 'fdb', 'show', 'dev', 'flannel.1'])).split('\n')
    const [mac = '', , dst = ''] = line.split(' ')
    await h1.bridge([`fdb del ${mac} dev flannel.1 dst ${dst}`])
    await h1.ip(['route add 10.244.251.0/24 via 10.244.251.0 dev flannel.1 onlink'])
    const monitor = await Monitor.start(h1)
    await restart()
    expect((await monitor.heard()).sort()).toEqual(
      [
        // Both monitors print an FDB entry, each in its own words.
        `${mac} dev flannel.1 dst ${dst} self permanent`,
        `${dst} dev flannel.1 lladdr ${mac} PERMANENT`,
        'Deleted 10.244.251.0/24 via 10.244.251.0 dev flannel.1 onlink',
      ].sort(),
    )
    expect(await overlayText(h1)).toBe(whole)
    await monitor.stop()
  })

  it('by an unexpected error says where, ends with 70, and a restart continues', async () => {
    await agent.stop()
    const monitor = await Monitor.start(h1)
    const breaks = `data:text/javascript,${encodeURIComponent(`
      process.once('SIGWINCH', () => {
        Object.defineProperty(Map.prototype, 'entries', { get() { throw new TypeError('broken on purpose') } })
        const get = performance.now
        performance.now = () => { throw new TypeError('broken on purpose') }
        setTimeout(() => { performance.now = get }, 20000)
      })`)}`
    agent = await h1.startAgent({
      endpoints: overlay.etcd.endpoints,
      nodeFlags: [`--import=${breaks}`],
    })
    expect(await monitor.heard()).toEqual([])
    agent.process.signal('SIGWINCH')
    // Something to do, so that the loop runs into it.
    await h1.ip(['route add 10.244.252.0/24 via 10.244.252.0 dev flannel.1 onlink'])
    expect(await agent.process.exited).toEqual({ code: 70, signal: null })
    expect(agent.process.text()).toMatch(/broken on purpose/)
    expect(agent.process.text()).toMatch(/at .*\/dist\/[\w-]+\.js/)
    await restart()
    expect(await overlayText(h1)).toBe(whole)
    await monitor.stop()
  })

  it('by an error outside of all tasks does likewise', async () => {
    await agent.stop()
    for (const what of [
      "setTimeout(() => { throw new RangeError('broken on purpose') }, 5)",
      "Promise.reject(new RangeError('broken on purpose'))",
    ]) {
      const breaks = `data:text/javascript,${encodeURIComponent(`process.once('SIGWINCH', () => { ${what} })`)}`
      agent = await h1.startAgent({
        endpoints: overlay.etcd.endpoints,
        nodeFlags: [`--import=${breaks}`],
      })
      agent.process.signal('SIGWINCH')
      expect(await agent.process.exited, what).toEqual({ code: 70, signal: null })
      expect(agent.log().at(-1)?.msg).toBe('unexpected error: twilld ends')
      expect(agent.process.text()).toMatch(/RangeError: broken on purpose/)
    }
    await restart()
    expect(await overlayText(h1)).toBe(whole)
  })
})

describe.skipIf(why !== undefined)('an agent that starts while packets to etcd are dropped', () => {
  let overlay: OverlayBed
  beforeAll(async () => {
    overlay = await overlayBed('blackhole', ['h1', 'h2'])
    await overlay.configure()
  })
  afterAll(() => overlay.dispose())

  it('programs the peers that it saw last before any call to etcd runs into its time-out', async () => {
    const [agent] = (await overlay.startAgents()) as [Agent]
    const h1 = overlay.hosts[0] as Host
    const isWhole = async () => (await overlayText(h1)).split('onlink').length === 3
    await until('both routes to the peer', isWhole)
    const whole = await overlayText(h1)
    await agent.stop()
    await h1.ip(['link delete flannel.1', 'link delete flannel-v6.1'])
    await overlay.lan.cut(h1)
    const again = h1.launchAgent({ endpoints: overlay.etcd.endpoints })
    await until('the overlay', async () => (await overlayText(h1)) === whole, {
      otherwise: () => again.process.text().slice(-3000),
    })
    expect(again.log().map(({ msg }) => msg)).toContainEqual(
      expect.stringMatching(/^etcd has not answered yet: starting/),
    )
    // Told by the order of its lines: a busy machine may look only after a call has run into its time-out.
    const [untilPeer] = again.process.text().split('"peer joined"')
    expect(untilPeer).not.toMatch(/no answer in time|no connection could be made/)
    await overlay.lan.heal()
    await again.ready()
  })
})
