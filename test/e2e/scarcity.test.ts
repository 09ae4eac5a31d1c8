import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import { Cgroup } from '../support/cgroup.ts'
import { run } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('an agent on a host that has run out of something', () => {
  let overlay: OverlayBed
  let agent: Agent
  let host: Host
  let whole: string

  beforeEach(async () => {
    overlay = await overlayBed('scarcity', ['h1', 'h2'])
    await overlay.configure()
    ;[agent] = (await overlay.startAgents(['--resync=3600', '--ip-masq', '--iptables-resync=1'])) as [Agent]
    host = overlay.hosts[0] as Host
    await until('both families of the peer on h1', async () => {
      const text = await overlayText(host)
      return text.includes('onlink') && /fd10:244:\S+ via \S+ dev flannel-v6.1/.test(text)
    })
    whole = await overlayText(host)
  })
  afterEach(() => overlay.dispose())

  const limitDescriptors = (many: number) =>
    run(['prlimit', '--pid', `${agent.process.pid}`, `--nofile=${many}:`])
  const isWhole = () =>
    until('the overlay to be whole again', async () => (await overlayText(host)) === whole, {
      otherwise: () => agent.process.text().slice(-3000),
    })

  it('lives without a descriptor left, says so, and is right again when there are some', async () => {
    await limitDescriptors(3)
    await host.ip(['link delete flannel.1'])
    agent.process.signal('SIGHUP')
    await agent.logs(/EMFILE|too many open files/)
    // It can take no connection either.
    await host.attempt(['timeout', '1', 'bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/8081 && cat <&3'])
    expect(agent.process.exit).toBeUndefined()
    await limitDescriptors(1024)
    await isWhole()
    await agent.ready()
    expect(agent.process.exit).toBeUndefined()
  })
})

const cgroup = why === undefined ? Cgroup.make('memory', 2 ** 30) : undefined
afterAll(() => cgroup?.remove())

describe.skipIf(cgroup === undefined)('an agent that nears the memory limit of its cgroup', () => {
  let overlay: OverlayBed
  beforeEach(async () => {
    overlay = await overlayBed('limit', ['h1'])
    await overlay.configure()
  })
  afterEach(() => overlay.dispose())

  it('says so, and /readyz?verbose lists it as a risk', async () => {
    const { wrapper, folder } = cgroup as Cgroup
    const squeeze = () => cgroup?.limit(Math.round((cgroup?.used ?? 0) / 0.9))
    const host = overlay.hosts[0] as Host
    const agent = await host.startAgent({ endpoints: overlay.etcd.endpoints, wrapper })
    // Again and again: the agent gives back what only its start needed, and looks every 30 s.
    const squeezing = setInterval(squeeze, 1_000)
    const said = await agent
      .logs(/MB of memory that this agent may have are used/, 90_000)
      .finally(() => clearInterval(squeezing))
    expect(said).toMatchObject({ level: 'warn', cgroup: folder })
    const verbose = await host.httpGet(8081, '/readyz?verbose')
    expect(verbose).toMatchObject({ status: 200, body: expect.stringContaining('[!]memory risk: ') })
  })
})

const pids = why === undefined ? Cgroup.make('pids', 1_000) : undefined
afterAll(() => pids?.remove())

describe.skipIf(pids === undefined)('an agent whose cgroup may have no more processes', () => {
  let overlay: OverlayBed
  beforeEach(async () => {
    overlay = await overlayBed('pids', ['h1'])
    await overlay.configure()
  })
  afterEach(() => overlay.dispose())

  it('lives, says so, and sets its rules again once it may start a program', async () => {
    const { wrapper } = pids as Cgroup
    const host = overlay.hosts[0] as Host
    const flags = ['--ip-masq', '--iptables-resync=1']
    const agent = await host.startAgent({ endpoints: overlay.etcd.endpoints, flags, wrapper })
    const rules = async () => (await host.exec(['iptables', '-t', 'nat', '-S'])).includes('flanneld masq')
    await until('the rules', rules)
    pids?.limit(1)
    await host.exec(['iptables', '-t', 'nat', '-F'])
    await agent.logs(/EAGAIN/)
    agent.process.signal('SIGHUP')
    await agent.logs(/SIGHUP: checking kernel entries, firewall and files/)
    expect((await host.httpGet(8081, '/healthz'))?.status).toBe(200)
    expect(await rules()).toBe(false)
    pids?.limit(1_000)
    await until('the rules', rules)
    await agent.ready()
    expect(agent.process.exit).toBeUndefined()
  })
})

describe.skipIf(why !== undefined)('a signal to an agent', () => {
  let overlay: OverlayBed
  let agent: Agent
  let host: Host

  beforeEach(async () => {
    overlay = await overlayBed('signals', ['h1'])
    await overlay.configure()
    ;[agent] = (await overlay.startAgents(['--resync=3600'])) as [Agent]
    host = overlay.hosts[0] as Host
  })
  afterEach(() => overlay.dispose())

  const passes = () => host.metric('twill_full_passes_total')

  it('is taken for what it means: SIGHUP asks for a full pass, SIGUSR1 opens no debugger, others end with a line', async () => {
    const before = await passes()
    agent.process.signal('SIGHUP')
    await until('a full pass', async () => (await passes()) > before)
    agent.process.signal('SIGUSR1')
    await agent.logs(/SIGUSR1 is ignored/)
    expect(agent.process.text()).not.toMatch(/debugger/i)
    expect(await host.exec(['ss', '-tln'])).not.toContain(':9229')
    agent.process.signal('SIGQUIT')
    expect(await agent.process.exited).toEqual({ code: null, signal: 'SIGQUIT' })
    await agent.logs(/^SIGQUIT: twilld ends/)
    const again = await host.startAgent({ endpoints: overlay.etcd.endpoints })
    again.process.signal('SIGIO')
    expect(await again.process.exited).toEqual({ code: null, signal: 'SIGIO' })
    await again.logs(/^SIGIO: twilld ends/)
  })
})
