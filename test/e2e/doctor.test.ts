import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Finding } from '../../agent/diagnose/doctor/finding.ts'
import { type Agent, healthPort } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import { type BreakFacts, breakFacts, hostBreaks, pathBreaks } from '../support/breaks.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import type { Pod } from '../support/pod.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('twill doctor', () => {
  let overlay: OverlayBed
  let h1: Host
  let agents: Agent[]
  let facts: BreakFacts

  const twill = (...words: string[]) => {
    const store = `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
    const own = [`--subnet-file=${h1.subnetFile}`, `--local-socket=${h1.localSocket}`]
    return h1.attempt([process.execPath, 'dist/twill.js', ...words, ...own, ...(isAsked ? [] : [store])])
  }
  /** Whether the agent is asked by its socket. */
  let isAsked = true
  const doctor = async (): Promise<{ code: number | null; findings: Finding[] }> => {
    const { stdout, stderr, code } = await twill('doctor', '--json')
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
    await pod1.ping(pod2.address())
  })
  afterAll(() => overlay.dispose())

  it('raises no alarm on a healthy host, in ten runs, nor while its agent restarts', async () => {
    for (let i = 0; i < 10; i++) expect(await doctor()).toEqual({ code: 0, findings: [] })
    await agents[0]?.stop()
    agents = [await h1.startAgent({ endpoints: overlay.etcd.endpoints }), ...agents.slice(1)]
    isAsked = false
    expect((await doctor()).findings.filter(({ severity }) => severity === 'broken')).toEqual([])
  })

  it('is what a running agent says by itself, when it appears and when it ends', {
    timeout: 120_000,
  }, async () => {
    const [agent] = agents as [Agent]
    const readiness = async () => (await h1.httpGet(healthPort, '/readyz'))?.body ?? ''
    await h1.exec(['sysctl', '-qw', 'net.ipv4.ip_forward=0'])
    // No notification tells of a sysctl: an operator who asks for a look need not wait for the next one.
    agent.process.signal('SIGHUP')
    await until('/readyz to name it', async () => (await readiness()).includes('net.ipv4.ip_forward = 0'), {
      withinMs: 60_000,
    })
    expect((await h1.httpGet(healthPort, '/metrics'))?.body).toContain(
      'twill_findings{check="forwarding",severity="broken"} 1',
    )
    await agent.logs(/this host does not pass packets on .*sysctl -w net.ipv4.ip_forward=1/)
    await h1.exec(['sysctl', '-qw', 'net.ipv4.ip_forward=1'])
    agent.process.signal('SIGHUP')
    await until('/readyz to be well again', async () => (await readiness()) === 'flanneld is ready', {
      withinMs: 60_000,
    })
    await agent.logs(/a trouble of this host is over/)
  })

  it('says that no agent answers, after what is broken', async () => {
    // From here on nothing is repaired.
    for (const agent of agents) await agent.stop()
    const { code, findings } = await doctor()
    expect(findings.map(({ check }) => check)).toEqual(['agent'])
    expect(code).toBe(2)
  })

  it.each(Object.entries({ ...pathBreaks, ...hostBreaks }))(
    'names first the cause where %s',
    async (_, { step, check = step, act, undo }) => {
      await h1.exec(['sh', '-ec', act(facts)])
      try {
        const { code, findings } = await doctor()
        expect(findings[0], JSON.stringify(findings, null, 2)).toMatchObject({
          check,
          severity: 'broken',
        })
        for (const finding of findings) expect(Object.values(finding)).not.toContain('')
        expect(code).toBe(1)
      } finally {
        await h1.exec(['sh', '-ec', undo(facts)])
      }
      expect((await doctor()).findings.map(({ check }) => check)).toEqual(['agent'])
    },
  )

  it('names what puts the host at risk', async () => {
    const risks: Record<string, readonly [string, string]> = {
      'foreign address': [
        'ip address add 10.244.77.7/32 dev flannel.1',
        'ip address del 10.244.77.7/32 dev flannel.1',
      ],
      'pod MTU': ['ip link set cni0 mtu 1500', 'ip link set cni0 mtu 1450'],
      overlap: [
        'ip link add br-lan type bridge; ip link set br-lan up; ip route add 10.244.128.0/20 dev br-lan',
        'ip link delete br-lan',
      ],
    }
    for (const [check, [act, undo]] of Object.entries(risks)) {
      await h1.exec(['sh', '-ec', act])
      expect((await doctor()).findings.map(finding => finding.check)).toContain(check)
      await h1.exec(['sh', '-ec', undo])
    }
  })

  it('is part of a bundle that holds no secret', async () => {
    const file = join(h1.directory, 'bundle.tar.gz')
    const env = {
      FLANNELD_ETCD_PASSWORD: 'planted-secret',
      FLANNELD_ETCD_ENDPOINTS: overlay.etcd.endpoints.join(','),
    }
    const words = ['bundle', `--file=${file}`, `--subnet-file=${h1.subnetFile}`, '--local-socket=']
    const pairs = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    await h1.exec(['env', ...pairs, process.execPath, 'dist/twill.js', ...words])
    const names = execFileSync('tar', ['-tzf', file], { encoding: 'utf8' })
    for (const name of ['about', 'host', 'status', 'map', 'diff', 'doctor'])
      expect(names).toContain(`twill-bundle/${name}.json`)
    const text = execFileSync('tar', ['-xzOf', file], { encoding: 'utf8' })
    expect(text).toContain('FLANNELD_ETCD_PASSWORD')
    expect(text).not.toContain('planted-secret')
  })
})
