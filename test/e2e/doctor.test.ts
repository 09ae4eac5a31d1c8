import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Finding } from '../../agent/diagnose/doctor/finding.ts'
import { type Agent, healthPort } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import { type BreakFacts, breakFacts, pathBreaks } from '../support/breaks.ts'
import type { Host } from '../support/host.ts'
import { hostBreaks } from '../support/host_breaks.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { untilReached } from '../support/pings.ts'
import type { Pod } from '../support/pod.ts'
import { podBreaks } from '../support/pod_breaks.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('twill doctor', () => {
  let overlay: OverlayBed
  let h1: Host
  let agents: Agent[]
  let facts: BreakFacts

  /** By the agent's socket, or from store and kernel. */
  const twill = (isAsked: boolean, ...words: string[]) => {
    const store = `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
    const own = [
      `--subnet-file=${h1.subnetFile}`,
      `--local-socket=${h1.localSocket}`,
      // The default one is the machine's.
      '--cache-file=/none',
    ]
    return h1.attempt([
      process.execPath,
      'dist/twill.js',
      ...words,
      '--timeout=30',
      ...own,
      ...(isAsked ? [] : [store]),
    ])
  }
  const doctor = async (isAsked = true): Promise<{ code: number | null; findings: Finding[] }> => {
    const { stdout, stderr, code } = await twill(isAsked, 'doctor', '--json')
    if (!stdout.startsWith('[')) throw new Error(`twill doctor said ${code}: ${stdout}${stderr}`)
    return { code, findings: JSON.parse(stdout) }
  }

  beforeAll(async () => {
    overlay = await overlayBed('doctor', ['h1', 'h2'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    const [first, second] = overlay.hosts as [Host, Host]
    h1 = first
    agents = await overlay.startAgents()
    const [pod1, pod2] = [await first.pod(), await second.pod()] as [Pod, Pod]
    facts = await breakFacts(first, second, pod2)
    await untilReached(pod1, pod2.address())
  })
  afterAll(() => overlay.dispose())

  it('raises no alarm on a healthy host, in ten runs, nor while its agent restarts', async () => {
    let last: Awaited<ReturnType<typeof doctor>> | undefined
    for (let i = 0; i < 10; i++) {
      last = await doctor()
      // A busy machine may answer a probe too late, which is a loss.
      expect(last.findings.filter(({ check }) => check !== 'probe')).toEqual([])
    }
    await until(
      'a run without any finding',
      async () => {
        last = await doctor()
        return last.findings.length === 0
      },
      { withinMs: 90_000, otherwise: () => JSON.stringify(last) },
    )
    expect(last?.code).toBe(0)
    await agents[0]?.stop()
    agents = [await h1.startAgent({ endpoints: overlay.etcd.endpoints }), ...agents.slice(1)]
    expect((await doctor(false)).findings.filter(({ severity }) => severity === 'broken')).toEqual([])
  })

  it('is what a running agent says by itself, when it appears and when it ends', {
    timeout: 180_000,
  }, async () => {
    const [agent] = agents as [Agent]
    await h1.during('sysctl -qw net.ipv4.ip_forward=0', 'sysctl -qw net.ipv4.ip_forward=1', async () => {
      // No notification tells of a sysctl: an operator who asks for a look need not wait for the next one.
      agent.process.signal('SIGHUP')
      await until(
        '/readyz to name it',
        async () => (await h1.readyz()).body.includes('net.ipv4.ip_forward = 0'),
        {
          withinMs: 60_000,
        },
      )
      expect((await h1.httpGet(healthPort, '/metrics'))?.body).toContain(
        'twill_findings{check="forwarding",severity="broken"} 1',
      )
      await agent.logs(/this host does not pass packets on .*sysctl -w net.ipv4.ip_forward=1/)
    })
    agent.process.signal('SIGHUP')
    await until('/readyz to be well again', async () => (await h1.readyz()).body === 'flanneld is ready', {
      withinMs: 60_000,
    })
    await agent.logs(/a trouble of this host is over/)
  })

  it('finds by probes what no fact of this host shows, and keeps to its time', {
    timeout: 180_000,
  }, async () => {
    const h2 = overlay.hosts[1] as Host
    const drops = {
      'TCP hangs': 'iptables -I INPUT -i flannel.1 -p tcp --dport 8473 -m length --length 200: -j DROP',
      'carries packets of 1350 bytes':
        'iptables -t raw -I PREROUTING -p udp --dport 8472 -m length --length 1401: -j DROP',
      'not over the overlay': 'iptables -I INPUT -p udp --dport 8472 -j DROP',
    }
    await until('the agents to answer probes', async () => (await twill(true, 'probe')).code === 0)
    for (const [what, drop] of Object.entries(drops)) {
      const { code, findings } = await h2.during(drop, drop.replace('-I', '-D'), doctor)
      expect([findings.map(({ check, severity }) => `${check} ${severity}`), code]).toEqual([
        ['probe broken'],
        1,
      ])
      expect(findings[0]?.what).toContain(what)
    }
    await until('the way to be sound again', async () => (await doctor()).code === 0)
  })

  it("names what a peer's own agent sees there", {
    timeout: 180_000,
  }, async () => {
    const h2 = overlay.hosts[1] as Host
    const { code, findings } = await h2.during(
      'sysctl -qw net.ipv4.ip_forward=0',
      'sysctl -qw net.ipv4.ip_forward=1',
      doctor,
    )
    expect([code, findings]).toEqual([
      1,
      [expect.objectContaining({ check: 'peer', severity: 'risk', evidence: 'net.ipv4.ip_forward = 0' })],
    ])
    await until('the way to be sound again', async () => (await doctor()).code === 0)
  })

  it('says that no agent answers, after what is broken', async () => {
    // From here on nothing is repaired.
    for (const agent of agents) await agent.stop()
    const { code, findings } = await doctor(false)
    expect(findings.map(({ check }) => check)).toEqual(['agent'])
    expect(code).toBe(2)
  })

  it.each(Object.entries({ ...pathBreaks, ...podBreaks, ...hostBreaks }))(
    'names first the cause where %s',
    async (_, { step, check = step, act, undo }) => {
      const { code, findings } = await h1.during(act(facts), undo(facts), () => doctor(false))
      expect(findings[0], JSON.stringify(findings, null, 2)).toMatchObject({ check, severity: 'broken' })
      for (const finding of findings) expect(Object.values(finding)).not.toContain('')
      expect(code).toBe(1)
    },
  )

  it('finds the host sound once all of that is undone', async () => {
    expect((await doctor(false)).findings.map(({ check }) => check)).toEqual(['agent'])
  })

  it('names what puts the host at risk', async () => {
    const { ownBridge } = facts
    const risks: readonly (readonly [check: string, act: string, undo: string])[] = [
      [
        'foreign address',
        'ip address add 10.244.77.7/32 dev flannel.1',
        'ip address del 10.244.77.7/32 dev flannel.1',
      ],
      ['pod bridge', 'ip link set pod1 down', 'ip link set pod1 up'],
      ['pod bridge', 'ip link set pod1 nomaster', 'ip link set pod1 master cni0'],
      [
        'pod bridge',
        `ip address del ${ownBridge}/24 dev cni0; ip address add ${ownBridge}/16 dev cni0`,
        `ip address del ${ownBridge}/16 dev cni0; ip address add ${ownBridge}/24 dev cni0`,
      ],
      [
        'masquerading',
        `sed -i s/IPMASQ=false/IPMASQ=true/ ${h1.subnetFile}`,
        `sed -i s/IPMASQ=true/IPMASQ=false/ ${h1.subnetFile}`,
      ],
      ['pod MTU', 'ip link set cni0 mtu 1500', 'ip link set cni0 mtu 1450'],
      [
        'bridge netfilter',
        'iptables -N KUBE-SERVICES; sysctl -qw net.bridge.bridge-nf-call-iptables=0',
        'iptables -X KUBE-SERVICES; sysctl -qw net.bridge.bridge-nf-call-iptables=1',
      ],
      [
        'overlap',
        'ip link add br-lan type bridge; ip link set br-lan up; ip route add 10.244.128.0/20 dev br-lan',
        'ip link delete br-lan',
      ],
    ]
    for (const [check, act, undo] of risks) {
      const { findings } = await h1.during(act, undo, () => doctor(false))
      expect(findings.map(finding => finding.check)).toContain(check)
    }
  })

  it('is part of a bundle that holds no secret', async () => {
    const file = join(h1.directory, 'bundle.tar.gz')
    const env = {
      FLANNELD_ETCD_PASSWORD: 'planted-secret',
      FLANNELD_KUBE_API_URL: 'user:planted-secret@192.0.2.1',
      FLANNELD_ETCD_PASWORD: 'planted-secret',
      FLANNELD_ETCD_ENDPOINTS: overlay.etcd.endpoints.join(','),
    }
    const words = [
      'bundle',
      `--file=${file}`,
      `--subnet-file=${h1.subnetFile}`,
      '--local-socket=',
      '--timeout=30',
    ]
    const pairs = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    await h1.exec(['env', ...pairs, process.execPath, 'dist/twill.js', ...words])
    // What is planted in an endpoint is in no error message either.
    const said = await h1.attempt([
      'env',
      ...pairs,
      process.execPath,
      'dist/twill.js',
      'bundle',
      '--file=-',
      '--local-socket=',
      '--timeout=30',
    ])
    expect(said.stdout.slice(0, 1)).toBe('\u001f')
    const names = execFileSync('tar', ['-tzf', file], { encoding: 'utf8' })
    for (const name of ['about', 'host', 'status', 'map', 'diff', 'doctor'])
      expect(names).toContain(`twill-bundle/${name}.json`)
    const text = execFileSync('tar', ['-xzOf', file], { encoding: 'utf8' })
    expect(text).toContain('FLANNELD_ETCD_PASSWORD')
    expect(text).not.toContain('planted-secret')
  })
})
