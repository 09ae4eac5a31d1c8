import { describe, expect, it } from 'vitest'
import type { ProbeDocument } from '../../agent/diagnose/probes/probe_result.ts'
import type { Trace } from '../../agent/diagnose/trace/trace.ts'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { untilReached } from '../support/pings.ts'
import type { Pod } from '../support/pod.ts'
import { sharedByTests } from '../support/shared_by_tests.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('what an agent is asked by its peers', () => {
  let overlay: OverlayBed
  let [h1, h2, h3]: Host[] = []
  let agents: Agent[]
  let [pod1, pod2]: string[] = []
  let pods: Pod[]

  const twill = (...words: string[]) =>
    (h1 as Host).attempt([process.execPath, 'dist/twill.js', ...words, '--timeout=40'])
  const byAgent = () => `--local-socket=${h1?.localSocket}`
  const byStore = () => `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
  const trace = async (way = byAgent()): Promise<Trace & { code: number | null }> => {
    const { stdout, stderr, code } = await twill('trace', pod1 ?? '', pod2 ?? '', '--json', way)
    if (!stdout.startsWith('{')) throw new Error(`twill trace said ${code}: ${stdout}${stderr}`)
    return { code, ...JSON.parse(stdout) }
  }
  const nodeOf = (host: Host | undefined) => host?.subnetEnv().FLANNEL_SUBNET?.replace('.1/24', '.0-24') ?? ''
  const probe = async (): Promise<ProbeDocument | undefined> => {
    const { stdout, stderr, code } = await twill('probe', nodeOf(h2), '--json', byAgent())
    if (!stdout.startsWith('[')) throw new Error(`twill probe said ${code}: ${stdout}${stderr}`)
    return JSON.parse(stdout)[0]
  }
  const during = (act: string, undo: string, check: () => Promise<void>) =>
    (h2 as Host).during(act, undo, check)
  const inAndOut = (rule: string): [string, string] => [`iptables -I ${rule}`, `iptables -D ${rule}`]

  sharedByTests(async () => {
    overlay = await overlayBed('questions', ['h1', 'h2', 'h3'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    ;[h1, h2, h3] = overlay.hosts
    agents = await overlay.startAgents()
    pods = await Promise.all([h1, h2].map(host => (host as Host).pod()))
    ;[pod1, pod2] = pods.map(pod => pod.address())
    await untilReached(pods[0] as Pod, pod2 ?? '')
    await until('the agents to answer', async () => (await trace()).back?.silent === null, {
      withinMs: 60_000,
    })
    await until('h3 to answer', async () => {
      const { stdout } = await twill('probe', nodeOf(h3), '--json', byAgent())
      return typeof JSON.parse(stdout)[0].bulk === 'object'
    })
    return overlay
  })

  it('is probes of all: a row a way with its figures, quiet where all are sound, progress on a terminal', async () => {
    expect(await twill('probe', '--all', byAgent())).toEqual({
      code: 0,
      stdout: '2 of 2 ways are sound\n',
      stderr: '',
    })
    const line = `${process.execPath} dist/twill.js probe --all --wide --timeout=40 ${byAgent()}`
    const { stdout } = await (h1 as Host).attempt(['script', '-qefc', line, '/dev/null'])
    expect(stdout).toContain('\r1 of 2 probed')
    for (const host of [h2, h3])
      expect(stdout).toMatch(new RegExp(`\n${nodeOf(host)} .* ms, 1500 bytes .* 1450 / 1450 .* Mbit/s`))
  })

  it('is the way back, hop by hop, by the agent and without it', async () => {
    for (const way of [byAgent(), byStore()]) {
      const { code, back, broken } = await trace(way)
      expect({ code, broken, via: back?.via, silent: back?.silent }).toEqual({
        code: 0,
        broken: null,
        via: null,
        silent: null,
      })
      expect(back?.hops.map(({ step, state }) => `${step} ${state}`)).toEqual(
        expect.arrayContaining(['source pod ok', 'device ok', 'route ok', 'FDB ok', 'underlay route ok']),
      )
      expect(back?.hops.find(({ step }) => step === 'lease')?.used).toContain(h1?.address())
    }
    const { stdout } = await twill('trace', pod1 ?? '', pod2 ?? '', byAgent())
    expect(stdout).toMatch(/\nThe way back, as 10\.244\.\S+ sees it\n ok {3}lease .*\n/)
    expect(stdout).toMatch(/\nBoth hosts are sound for this packet and its answer\.\n$/)
  })

  it.each([
    ['forwarding', 'sysctl -qw net.ipv4.ip_forward=0', 'sysctl -qw net.ipv4.ip_forward=1'],
    ['source pod', 'ip link set cni0 down', 'ip link set cni0 up'],
    ['route', 'ip route add blackhole POD1/32', 'ip route del blackhole POD1/32'],
    ['firewall', ...inAndOut('FORWARD -o flannel.1 -j DROP')],
    ['firewall, answer', ...inAndOut('FORWARD -i flannel.1 -j DROP')],
  ])('names the link that is broken on the other host: %s', async (step, act, undo) => {
    const fill = (text: string) => text.replace('POD1', pod1 ?? '')
    await during(fill(act), fill(undo), async () => {
      const { code, broken, back, hops } = await trace()
      expect(hops.filter(({ state }) => state === 'broken')).toEqual([])
      expect([broken?.step, back?.via, code], JSON.stringify(back, null, 2)).toEqual([step, null, 1])
      expect((await twill('trace', pod1 ?? '', pod2 ?? '', byAgent())).stdout).toMatch(
        new RegExp(`\nBroken at: ${step} on ${nodeOf(h2)}`),
      )
    })
    expect((await trace()).broken).toBeNull()
  })

  it.each([
    ['firewall, UDP 8472', 'OUTPUT -p udp --dport 8472 -d H1 -j DROP', { there: false, back: true }],
    ['firewall, UDP 8472 in', 'INPUT -p udp --dport 8472 -s H1 -j DROP', { there: true, back: false }],
  ])('is passed on by another peer where the tunnel is dead one way: %s', async (step, rule, dead) => {
    await during(...inAndOut(rule.replace('H1', h1?.address() ?? '')), async () => {
      const { broken, back } = await trace()
      expect([broken?.step, back?.via], JSON.stringify(back, null, 2)).toEqual([step, nodeOf(h3)])
      const probed = await probe()
      expect(probed).toMatchObject({ overlayMs: null, underlayMs: expect.any(Number) })
      expect(probed?.dead).toEqual({ ...dead, via: nodeOf(h3) })
      expect(probed?.finding?.what).toMatch(
        new RegExp(`^the tunnel is dead on the way ${dead.there ? 'to' : 'from'} ${nodeOf(h2)}: `),
      )
    })
    await until('the tunnel to carry again', async () => (await probe())?.finding === null)
  })

  it('tells a tunnel that is dead in both directions from one that is dead in one', async () => {
    const [act, undo] = [
      inAndOut(`OUTPUT -p udp --dport 8472 -d ${h1?.address()} -j DROP`),
      inAndOut(`INPUT -p udp --dport 8472 -s ${h1?.address()} -j DROP`),
    ].reduce(([a, b], [c, d]) => [`${a}; ${c}`, `${b}; ${d}`])
    await during(act, undo, async () => {
      expect((await probe())?.finding?.what).toMatch(/^the tunnel to .* is dead in both directions/)
    })
  })

  it('is answered to peers alone, about the ways between the two alone, and only what is known', async () => {
    const vtep = nodeOf(h2).replace('-24', '')
    const ask = async (from: Pick<Host, 'attempt'>, question: object | string, local?: string) => {
      const line = typeof question === 'string' ? question : JSON.stringify(question)
      const program = `require('net').connect({host:'${vtep}',port:8473,localAddress:${JSON.stringify(local)}})
        .on('data',d=>process.stdout.write(d)).on('close',()=>process.stdout.write('closed')).on('error',()=>{}).write(${JSON.stringify(`twq1${line}\n`)})`
      return (await from.attempt([process.execPath, '-e', program])).stdout
    }
    const sound = { ask: 'trace', from: pod2, to: pod1 }
    expect(await ask(pods[0] as Pod, sound)).toBe('closed')
    const own = nodeOf(h1).replace('-24', '')
    const fromPeer = (question: object | string) => ask(h1 as Host, question, own)
    expect(await fromPeer(sound)).toMatch(/^\{"hops":\[\{"step":"lease"/)
    expect(await fromPeer({ ...sound, from: '192.168.50.1' })).toMatch(/"error":".*no address of this node"/)
    expect(await fromPeer({ ...sound, to: '8.8.8.8' })).toMatch(/"error":".*no address of a peer"/)
    expect(await fromPeer({ ...sound, via: '8.8.8.8' })).toMatch(/"error":"8\.8\.8\.8 is no peer/)
    expect(await fromPeer({ ask: 'heard', address: '8.8.8.8', port: 1, session: 1 })).toMatch(/"error":/)
    expect(await fromPeer({ ask: 'restart' })).toMatch(/does not know the question/)
    expect(await fromPeer('[')).toMatch(/"error":/)
    expect(await fromPeer('x'.repeat(2_000))).toMatch(/"error":"it is longer than 1024 bytes"/)
  })

  it('is not answered by an agent with --probe-port=0, nor by one that is gone', async () => {
    await agents[1]?.stop()
    const { code, back, broken } = await trace()
    expect({ code, broken }).toEqual({ code: 0, broken: null })
    expect(back?.silent).toMatch(/^no agent answers at .* port 8473 \(--probe-port\)$/)
    await (h2 as Host).startAgent({ endpoints: overlay.etcd.endpoints, flags: ['--probe-port=0'] })
    expect((await trace()).back?.silent).toMatch(/^no agent answers/)
    // Such an agent asks no peer either.
    const words = ['dist/twill.js', 'trace', pod2 ?? '', pod1 ?? '', `--local-socket=${h2?.localSocket}`]
    await until('the agent with --probe-port=0 to ask no peer', async () => {
      const asked = await (h2 as Host).attempt([process.execPath, ...words])
      return asked.stdout.includes('questions to peers are switched off (--probe-port=0)')
    })
    const { stdout } = await twill('trace', pod1 ?? '', pod2 ?? '', byStore(), '--probe-port=0')
    expect(stdout).toContain('was not asked for the way back: questions to peers are switched off')
  })
})
