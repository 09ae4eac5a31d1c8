import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import type { Pod } from '../support/pod.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('the documents of a node', () => {
  let overlay: OverlayBed
  let hosts: Host[]
  let agents: Agent[]
  let pods: Pod[]

  /** By the agent's socket, or from store and kernel where no socket is given. */
  const ask = async (words: readonly string[], by: 'agent' | 'store') => {
    const [h1] = hosts as [Host]
    const store = `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
    const way = by === 'agent' ? `--local-socket=${h1.localSocket}` : store
    const said = await h1.attempt([process.execPath, 'dist/twill.js', ...words, way])
    if (!said.stdout.startsWith('{'))
      throw new Error(`twill ${words.join(' ')}: ${said.stdout}${said.stderr}`)
    return { code: said.code, document: JSON.parse(said.stdout) }
  }

  beforeAll(async () => {
    overlay = await overlayBed('docs', ['h1', 'h2'])
    await overlay.configure()
    hosts = [...overlay.hosts]
    agents = await overlay.startAgents()
    pods = await Promise.all(hosts.map(host => host.pod()))
    await overlay.etcd.ctl(
      'put',
      '/coreos.com/network/subnets/10.244.9.0-24',
      '{"PublicIP":"127.0.0.1","PublicIPv6":null}',
    )
  })
  afterAll(() => overlay.dispose())

  it('are served on a socket that only root and its group may open', () => {
    const { mode } = statSync(hosts[0]?.localSocket ?? '')
    expect((mode & 0o777).toString(8)).toBe('660')
  })

  it.each([['map'], ['diff'], ['trace']])('are the same with and without the agent: %s', async name => {
    const operands = name === 'trace' ? [pods[0]?.address() ?? '', pods[1]?.address() ?? ''] : []
    const words = [name, ...operands, '--json']
    const [asked, computed] = [await ask(words, 'agent'), await ask(words, 'store')]
    expect(asked).toEqual(computed)
    expect(asked.code).toBe(0)
  })

  it('tell the same status, but for what the agent alone knows', async () => {
    const [asked, computed] = [
      await ask(['status', '--json'], 'agent'),
      await ask(['status', '--json'], 'store'),
    ]
    const shared = ({ agent, store, next, ...rest }: Record<string, unknown>) => rest
    expect(shared(asked.document)).toEqual(shared(computed.document))
    expect(asked.document).toMatchObject({
      agent: { version: expect.any(String) },
      troubles: [],
      entries: { drifted: 0 },
    })
    expect(asked.code).toBe(0)
    expect(computed.document).toMatchObject({ agent: null, store: null })
    expect(computed.code).toBe(2)
  })

  it('print a difference as commands that mend it', async () => {
    for (const agent of agents) await agent.stop()
    const [h1] = hosts as [Host]
    const table = async () =>
      (
        await h1.exec(['sh', '-c', 'ip route; ip neigh show nud permanent; bridge fdb show dev flannel.1'])
      ).trim()
    const before = await table()
    await h1.exec([
      'sh',
      '-c',
      'ip neigh flush dev flannel.1 nud permanent; ip route flush dev flannel.1 proto boot',
    ])
    const { code, document } = await ask(['diff', '--json'], 'store')
    expect(code).toBe(1)
    expect(document.commands).toHaveLength(2)
    await h1.exec(['sh', '-e'], { input: document.commands.join('\n') })
    expect(await table()).toBe(before)
    expect((await ask(['diff', '--json'], 'store')).code).toBe(0)
  })

  it('name a route of another that is used instead of ours', async () => {
    const [h1] = hosts as [Host]
    const pod = pods[1]?.address()
    await h1.exec(['ip', 'route', 'add', `${pod}/32`, 'via', '192.168.50.99', 'dev', 'eth0'])
    const { document } = await ask(['diff', '--json'], 'store')
    expect(document.shadows).toEqual([
      { wanted: expect.stringContaining('dev flannel.1'), used: `${pod}/32 via 192.168.50.99 dev eth0` },
    ])
    await h1.exec(['ip', 'route', 'del', `${pod}/32`])
  })

  it('are served again by an agent that comes after one that was killed', async () => {
    const [h1] = hosts as [Host]
    const first = await h1.startAgent({ endpoints: overlay.etcd.endpoints })
    await first.kill9()
    await h1.startAgent({ endpoints: overlay.etcd.endpoints })
    await until(
      'the new agent to answer',
      async () => (await ask(['status', '--json'], 'agent')).document.agent !== null,
    )
  })

  it('come from the last-seen file where neither an agent nor the store answers', async () => {
    const [h1] = hosts as [Host]
    const words = ['map', '--json', '--timeout=5', `--cache-file=${join(h1.directory, 'leases.json')}`]
    const nowhere = '--etcd-endpoints=http://192.168.50.253:2379'
    const before = await ask(['map', '--json'], 'store')
    const { stdout, stderr, code } = await h1.attempt([process.execPath, 'dist/twill.js', ...words, nowhere])
    const nodes = (map: { leases: { node: string }[] }) => map.leases.map(({ node }) => node)
    // A value that is no lease, and one that agents refuse, are not remembered the same way: only the nodes count.
    expect(nodes(before.document)).toEqual(expect.arrayContaining(nodes(JSON.parse(stdout))))
    expect(nodes(JSON.parse(stdout)).length).toBeGreaterThanOrEqual(2)
    expect(stderr).toMatch(/192\.168\.50\.253.*\ntwill: this is what the agent saw last, saved at 20/)
    expect(code).toBe(0)
  })
})
