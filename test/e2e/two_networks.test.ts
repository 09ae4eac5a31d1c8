import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const second = '/second/network'
const secondPort = 8082

describe.skipIf(why !== undefined).each(['iptables', 'nft'])('two networks on one host, with %s', mode => {
  let overlay: OverlayBed
  let host: Host
  let agents: Agent[]

  beforeAll(async () => {
    overlay = await overlayBed('two', ['h1', 'h2'])
    host = overlay.hosts[0] as Host
    // Peers are near: the routes of both networks bear the same protocol on the same device.
    const EnableNFTables = mode === 'nft'
    const Backend = { Type: 'vxlan', DirectRouting: true }
    await overlay.configure({ Network: '10.244.0.0/16', EnableNFTables, Backend })
    const other = { EnableNFTables, Network: '10.5.0.0/16', Backend: { ...Backend, VNI: 2 } }
    await overlay.etcd.ctl('put', `${second}/config`, JSON.stringify(other))
    agents = await overlay.startAgents(['--ip-masq', '--iptables-resync=1', '--resync=1'])
    for (const one of overlay.hosts) agents.push(one.launchAgent({ ...endpoints(), flags: flags(one) }))
    await until('the second agents to be ready', async () => {
      const answers = await Promise.all(overlay.hosts.map(one => one.httpGet(secondPort, '/readyz')))
      return answers.every(answer => answer?.status === 200)
    })
    await until('the peer of the second network', async () =>
      /^10\.5\.\d+\.0\/24 via 192\.168\.50\.13 dev eth0 proto 117/m.test(await overlayText(host)),
    )
  })
  afterAll(() => overlay.dispose())

  const endpoints = () => ({ endpoints: overlay.etcd.endpoints })
  const flags = (one: Host) => [
    `--etcd-prefix=${second}`,
    `--subnet-file=${join(one.directory, 'second.env')}`,
    `--cache-file=${join(one.directory, 'second.json')}`,
    `--healthz-port=${secondPort}`,
    '--ip-masq',
    '--iptables-resync=1',
    '--resync=1',
  ]
  const rules = async (text: string) =>
    (await host.exec(mode === 'nft' ? ['nft', 'list', 'ruleset'] : ['iptables-save']))
      .split('\n')
      .filter(line => line.includes(text))
      .map(line => line.replace(/\[\d+:\d+\]|^# .*/, ''))
  const cleanup = (...words: string[]) =>
    host.attempt([
      './dist/twill.js',
      'cleanup',
      `--etcd-endpoints=${overlay.etcd.endpoint}`,
      `--subnet-file=${host.subnetFile}`,
      `--cache-file=${host.directory}/leases.json`,
      '--timeout=40',
      ...words,
    ])

  it('have each their device, routes and rules, and neither agent repairs what the other made', async () => {
    const before = [await overlayText(host), await rules('')]
    expect(before[0]).toMatch(/^10\.244\.\d+\.0\/24 via 192\.168\.50\.13 dev eth0 proto 117/m)
    expect(before[0]).toMatch(/^10\.5\.\d+\.0\/24 via 192\.168\.50\.13 dev eth0 proto 117/m)
    for (const network of ['10.244.0.0/16', '10.5.0.0/16'])
      expect((await rules(network)).filter(line => line.toLowerCase().includes('masquerade'))).toHaveLength(2)
    // Several looks of each agent at kernel and rules.
    for (const port of [8081, secondPort]) {
      const looks = () => host.metric('twill_full_passes_total', port)
      const from = await looks()
      await until(`the agent at ${port} to have looked again`, async () => (await looks()) > from + 3)
    }
    expect([await overlayText(host), await rules('')]).toEqual(before)
    const repairs = agents.flatMap(agent =>
      agent.log().filter(({ msg }) => /repaired|refuses|contest/.test(msg)),
    )
    expect(repairs).toEqual([])
  })

  it('let no third agent in: it says who has what it wants, and ends with 1', async () => {
    const twice = host.launchAgent(endpoints())
    expect((await twice.process.exited).code).toBe(1)
    expect(twice.process.text()).toMatch(
      new RegExp(
        `Another agent on this host has file ${host.subnetFile}: twilld .*, process ${agents[0]?.process.pid} `,
      ),
    )
    const more = ['--subnet-file=/tmp/twill-third.env', '--cache-file=none', '--healthz-port=0']
    const third = host.launchAgent({ ...endpoints(), flags: more })
    expect((await third.process.exited).code).toBe(1)
    expect(third.process.text()).toContain('Another agent on this host has device flannel.1: ')
  })

  it('keep cleanup from removing what an agent holds, and the first network from a cleanup of the second', async () => {
    const held = await cleanup('--yes')
    expect([held.code, held.stdout]).toEqual([1, ''])
    expect(held.stderr).toMatch(/^twill: An agent runs and has device flannel\.1: twilld/)
    await agents[2]?.stop()
    const first = await rules('10.244.0.0/16')
    const stopped = await cleanup('--yes', `--etcd-prefix=${second}`)
    expect([stopped.code, stopped.stderr]).toEqual([1, expect.stringContaining('leases.json')])
    const second_ = [
      `--subnet-file=${join(host.directory, 'second.env')}`,
      `--cache-file=${join(host.directory, 'second.json')}`,
    ]
    const { code, stdout } = await cleanup('--yes', `--etcd-prefix=${second}`, ...second_)
    expect(code, stdout).toBe(0)
    const text = await overlayText(host)
    expect(text).not.toMatch(/10\.5\.|flannel\.2/)
    expect(text).toMatch(/^10\.244\.\d+\.0\/24 via 192\.168\.50\.13 dev eth0 proto 117/m)
    expect([await rules('10.244.0.0/16'), await rules('10.5.0.0/16')]).toEqual([first, []])
    expect(agents[0]?.log().filter(({ msg }) => /repaired/.test(msg))).toEqual([])
    expect(host.subnetEnv().FLANNEL_NETWORK).toBe('10.244.0.0/16')
  })
})
