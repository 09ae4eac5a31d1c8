import { describe, expect, it } from 'vitest'
import type { Trace } from '../../agent/diagnose/trace/trace.ts'
import { whyNoBed } from '../support/bed.ts'
import { type BreakFacts, breakFacts, pathBreaks } from '../support/breaks.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { untilReached } from '../support/pings.ts'
import type { Pod } from '../support/pod.ts'
import { podBreaks } from '../support/pod_breaks.ts'
import { sharedByTests } from '../support/shared_by_tests.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('twill trace', () => {
  let overlay: OverlayBed
  let [h1, h2]: Host[] = []
  let [pod1, pod2]: Pod[] = []
  let facts: BreakFacts

  const trace = async (from: string, to: string) => {
    const store = `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
    const { stdout, stderr, code } = await (h1 as Host).attempt([
      process.execPath,
      'dist/twill.js',
      'trace',
      from,
      to,
      '--json',
      '--timeout=30',
      '--cache-file=/none',
      store,
    ])
    if (!stdout.startsWith('{')) throw new Error(`twill trace said ${code}: ${stdout}${stderr}`)
    return { code, ...(JSON.parse(stdout) as Trace) }
  }

  sharedByTests(async () => {
    overlay = await overlayBed('trace', ['h1', 'h2'])
    await overlay.configure()
    ;[h1, h2] = overlay.hosts
    const agents = await overlay.startAgents()
    pod1 = await h1?.pod()
    pod2 = await h2?.pod()
    facts = await breakFacts(h1 as Host, h2 as Host, pod2 as Pod)
    await untilReached(pod1 as Pod, facts.pod)
    const rules = () => Promise.all(overlay.hosts.map(host => host.exec(['iptables', '-S', 'FORWARD'])))
    await until('their rules', async () => (await rules()).every(text => text.includes('FLANNEL-FWD')))
    // What is broken stays broken: nothing repairs it.
    for (const agent of agents) await agent.stop()
    return overlay
  })

  it('finds nothing where the hosts let in the tunnel and answers alone, and what a host drops is no answer', async () => {
    const rules = ['-m conntrack --ctstate ESTABLISHED', '-p udp --dport 8472', '-p icmp', '-i lo']
    const closed = rules.map(rule => `iptables -A INPUT ${rule} -j ACCEPT`).join('; ')
    const open = 'iptables -P INPUT ACCEPT; iptables -F INPUT'
    await (h1 as Host).during(`${closed}; iptables -P INPUT DROP`, open, async () => {
      for (const [from, to] of [
        [pod1?.address() ?? '', facts.pod],
        [facts.ownGateway, facts.gateway],
      ] as const) {
        const { hops, code } = await trace(from, to)
        expect(hops.filter(({ state }) => state !== 'ok')).toEqual([])
        expect(code).toBe(0)
      }
    })
  })

  it('finds nothing on a sound path, from pod to pod and from node to node', async () => {
    const there = await trace(pod1?.address() ?? '', facts.pod)
    expect(there.hops.filter(({ state }) => state !== 'ok')).toEqual([])
    expect(there.code).toBe(0)
    const nodes = await trace(facts.ownGateway, facts.gateway)
    expect(nodes.hops.filter(({ state }) => state !== 'ok')).toEqual([])
    // By their public IPs, and by what the host's own resolver knows.
    const named = await trace(facts.ownIp, facts.peerIp)
    expect(named).toEqual(nodes)
  })

  it.each(Object.entries({ ...pathBreaks, ...podBreaks }))(
    'names the link where %s',
    async (_, { step, act, undo }) => {
      const path = () => trace(pod1?.address() ?? '', facts.pod)
      const found = await (h1 as Host).during(act(facts), undo(facts), path)
      expect(found.broken?.step, JSON.stringify(found.hops, null, 2)).toBe(step)
      expect(found.broken?.remedy).toBeDefined()
      expect(found.code).not.toBe(0)
      expect((await path()).broken).toBeNull()
    },
  )

  it.each([
    ['route', 'ip route add blackhole POD/128', 'ip route del blackhole POD/128'],
    ['forwarding', 'sysctl -qw net.ipv6.conf.all.forwarding=0', 'sysctl -qw net.ipv6.conf.all.forwarding=1'],
    [
      'firewall',
      'ip6tables -I FORWARD -o flannel-v6.1 -j DROP',
      'ip6tables -D FORWARD -o flannel-v6.1 -j DROP',
    ],
    ['device', 'ip link set flannel-v6.1 address 02:ff:00:00:00:09', 'ip link set flannel-v6.1 address MAC'],
  ])('walks IPv6 by the same code: %s', async (step, act, undo) => {
    const [from, to] = [pod1, pod2].map(pod => pod?.address('ipv6') ?? '') as [string, string]
    const [{ address = '' }] = JSON.parse(
      (await h1?.exec(['ip', '-j', 'link', 'show', 'flannel-v6.1'])) ?? '',
    )
    const fill = (text: string) => text.replace('POD', to).replace('MAC', address)
    expect((await trace(from, to)).broken).toBeNull()
    const { broken } = await (h1 as Host).during(fill(act), fill(undo), () => trace(from, to))
    expect(broken?.step, JSON.stringify(broken)).toBe(step)
  })

  it('says that no node owns an address', async () => {
    const { broken } = await trace(pod1?.address() ?? '', '10.244.255.7')
    expect(broken).toMatchObject({
      step: 'lease',
      used: 'no lease holds 10.244.255.7: no node owns that subnet',
    })
  })

  it('sends the operator to the host of the source, and out of the overlay', async () => {
    const own = pod1?.address() ?? ''
    await expect(trace(facts.pod, own)).rejects.toThrow(
      `at ${facts.peerIp}, and a trace begins on the host of its source: run it there; or run \`twill trace ${own} ${facts.pod}\` here`,
    )
    await expect(trace(own, '8.8.8.8')).rejects.toThrow(
      /8\.8\.8\.8 is no address of the network 10\.244\.0\.0\/16.*: `ip route get 8\.8\.8\.8` shows the way to it/,
    )
  })

  it('names the peer whose lease agents refuse', async () => {
    const key = '/coreos.com/network/subnets/10.244.200.0-24'
    await overlay.etcd.ctl('put', key, '{"PublicIP":"127.0.0.1","PublicIPv6":null,"BackendType":"vxlan"}')
    const { broken } = await trace(pod1?.address() ?? '', '10.244.200.7')
    expect(broken).toMatchObject({ step: 'lease', why: expect.stringContaining('refuse') })
    await overlay.etcd.ctl('del', key)
  })
})
