import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Agent, healthPort } from '../support/agent.ts'
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
    // The default last-seen file is the machine's.
    const files = words[0] === 'loglevel' ? [] : [`--subnet-file=${h1.subnetFile}`, '--cache-file=/none']
    const said = await h1.attempt([
      process.execPath,
      'dist/twill.js',
      ...words,
      ...files,
      '--timeout=30',
      way,
    ])
    if (!/^[[{]/.test(said.stdout)) throw new Error(`twill ${words.join(' ')}: ${said.stdout}${said.stderr}`)
    return { code: said.code, document: JSON.parse(said.stdout) }
  }

  /** etcd tells of whole seconds until a lease ends: when that is, is told a second apart; a neighbor ages. */
  const withoutSeconds = (said: object) =>
    JSON.parse(
      JSON.stringify(said)
        .replaceAll(/T\d\d:\d\d:\d\d\.\d{3}Z/g, '')
        .replaceAll(/ (REACHABLE|STALE|DELAY|PROBE)/g, ' VALID'),
    )

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
    await until('the agent to know of it', async () =>
      JSON.stringify((await ask(['map', '--json'], 'agent')).document).includes('10.244.9.0'),
    )
  })
  afterAll(() => overlay.dispose())

  it('are served on a socket that only root and its group may open', () => {
    const { mode } = statSync(hosts[0]?.localSocket ?? '')
    expect((mode & 0o777).toString(8)).toBe('660')
  })

  it.each(['status', 'map', 'diff', 'trace', 'doctor', 'probe', 'loglevel'])(
    'keep to their JSON schema, by the agent and without it: %s',
    async name => {
      const schemas = JSON.parse(readFileSync('manifests/schemas/documents.json', 'utf8'))
      const validate = new Ajv2020()
        .addSchema(schemas, 'documents')
        .compile({ $ref: `documents#/$defs/${name}` })
      const operands = name === 'trace' ? [pods[0]?.address() ?? '', pods[1]?.address() ?? ''] : []
      for (const by of name === 'loglevel' ? (['agent'] as const) : (['agent', 'store'] as const)) {
        const { document } = await ask([name, ...operands, '--json'], by)
        expect([validate(document), validate.errors]).toEqual([true, null])
      }
    },
  )

  it('keep to their JSON schema over the socket alone: each document and act of the local API has one', async () => {
    const { $defs, ...schemas } = JSON.parse(readFileSync('manifests/schemas/documents.json', 'utf8'))
    const [h1] = hosts as [Host]
    const api = async (method: string, path: string) => {
      const words = ['-s', '-X', method, '--unix-socket', h1.localSocket, `http://local/${path}`]
      return JSON.parse(await h1.exec(['curl', ...words]))
    }
    for (const method of ['GET', 'POST']) {
      const [, names = ''] = /^there are (.+) by /.exec((await api(method, 'nothing')).error) ?? []
      expect(Object.keys($defs)).toEqual(expect.arrayContaining(names.split(', ')))
    }
    const validate = (name: string, document: unknown) => {
      const check = new Ajv2020()
        .addSchema({ $defs, ...schemas }, 'documents')
        .compile({ $ref: `documents#/$defs/${name}` })
      return [check(document), check.errors]
    }
    const peers = await api('GET', 'peers')
    expect(peers).toHaveLength(1)
    expect(validate('peers', peers)).toEqual([true, null])
    expect(validate('fix', await api('POST', 'fix'))).toEqual([true, null])
    expect(validate('fix', {})[0]).toBe(false)
  })

  it.each([['map'], ['diff'], ['trace'], ['doctor']])(
    'are the same with and without the agent: %s',
    async name => {
      const operands = name === 'trace' ? [pods[0]?.address() ?? '', pods[1]?.address() ?? ''] : []
      const words = [name, ...operands, '--json']
      // The kernel forgets a neighbor of the underlay that nothing is sent to.
      await until(
        'the other host',
        async () => ((await hosts[0]?.ping(hosts[1]?.address() ?? '')) ?? []).length === 3,
      )
      const [asked, computed] = [await ask(words, 'agent'), await ask(words, 'store')]
      // The one thing in which they differ: with the agent asked, it is there.
      const isNoAgent = ({ check }: { check?: string }) => check === 'agent'
      if (name === 'doctor') computed.document = computed.document.filter((one: object) => !isNoAgent(one))
      expect(withoutSeconds(asked.document)).toEqual(withoutSeconds(computed.document))
      expect(asked.code).toBe(0)
    },
  )

  it('tell the same status, but for what the agent alone knows', async () => {
    const [asked, computed] = [
      await ask(['status', '--json'], 'agent'),
      await ask(['status', '--json'], 'store'),
    ]
    const shared = ({ agent, store, next, firewall, ...rest }: Record<string, unknown>) => rest
    expect(shared(asked.document)).toEqual(shared(computed.document))
    expect(asked.document).toMatchObject({
      agent: { version: expect.any(String) },
      troubles: [],
      firewall: 'as desired',
      entries: { drifted: 0 },
    })
    expect(asked.code).toBe(0)
    expect(computed.document).toMatchObject({ agent: null, store: null, firewall: null })
    expect(computed.code).toBe(2)
  })

  it('know the agent where flags name the store: its socket is asked what it alone knows', async () => {
    const [h1, h2] = hosts as [Host, Host]
    const by = (socket: string, ...words: string[]) =>
      ask([...words, '--json', `--local-socket=${socket}`], 'store')
    const { document, code } = await by(h1.localSocket, 'status')
    expect({ ...document, store: document.store !== null }).toMatchObject({
      agent: { version: expect.any(String) },
      agentSilence: null,
      firewall: 'as desired',
      store: true,
      next: 'nothing: this node is well',
    })
    expect(code).toBe(0)
    expect(
      (await by(h1.localSocket, 'doctor')).document.map((one: { check: string }) => one.check),
    ).not.toContain('agent')
    // An agent of another network, or of another host's namespace.
    const other = await by(h2.localSocket, 'status')
    expect(other.document).toMatchObject({
      agent: null,
      agentSilence: expect.stringContaining('has another lease'),
    })
    expect(other.code).toBe(2)
  })

  it('come from the agent whose socket FLANNELD_LOCAL_SOCKET names, and from no agent with --local-socket=none', async () => {
    const [h1] = hosts as [Host]
    const status = async (env: Record<string, string>, ...words: string[]) => {
      const { stdout, stderr } = await h1.attempt(
        [process.execPath, 'dist/twill.js', 'status', '--json', ...words],
        { env },
      )
      return { stderr, ...JSON.parse(stdout) }
    }
    const variables = { FLANNELD_LOCAL_SOCKET: h1.localSocket, FLANNELD_CACHE_FILE: '/none' }
    expect(await status(variables)).toMatchObject({ stderr: '', agent: { version: expect.any(String) } })
    const store = `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
    expect(await status(variables, '--local-socket=none', '--timeout=30', store)).toMatchObject({
      agent: null,
      agentSilence: 'not asked: --local-socket is none',
    })
  })

  it('say so where this user may not ask the agent, which runs', async () => {
    const [h1] = hosts as [Host]
    const denied = `not asked: this user may not open '${h1.localSocket}'; run it as root`
    const asNobody = (...words: string[]) =>
      h1.attempt([
        ...['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
        ...[process.execPath, 'dist/twill.js', ...words, `--local-socket=${h1.localSocket}`],
        ...['--cache-file=/none', '--timeout=30'],
      ])
    const store = `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
    const status = await asNobody('status', '--json', store)
    expect(JSON.parse(status.stdout)).toMatchObject({ agent: null, agentSilence: denied, troubles: [] })
    expect(status.code).toBe(2)
    const doctor = await asNobody('doctor', '--json', store)
    expect(JSON.parse(doctor.stdout)).toContainEqual(
      expect.objectContaining({ check: 'agent', severity: 'unseen', evidence: denied }),
    )
    const map = await asNobody('map')
    expect(map.stderr).toContain(`twill: ${denied}\n`)
    const level = await h1.attempt([
      ...['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
      ...[process.execPath, 'dist/twill.js', 'loglevel', `--local-socket=${h1.localSocket}`],
    ])
    expect(level).toMatchObject({ code: 1, stderr: `twill: ${denied}\n` })
  })

  it('are shown over HTTP to this host, and to no other host and no pod', async () => {
    const [h1, h2] = hosts as [Host, Host]
    const ask = (from: Pick<Host, 'attempt'>, path: string) =>
      from.attempt([
        'curl',
        '-s',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        `http://${h1.address()}:${healthPort}${path}`,
      ])
    for (const path of ['/', '/map', '/status']) {
      expect([path, (await ask(h1, path)).stdout]).toEqual([path, '200'])
      for (const other of [h2, ...pods])
        expect([path, (await ask(other, path)).stdout]).toEqual([path, '403'])
    }
    for (const other of [h2, ...pods]) expect((await ask(other, '/readyz')).stdout).toBe('200')
  })

  it('have a log level, which changes while the agent runs', async () => {
    const [h1] = hosts as [Host]
    const level = async (...words: string[]) =>
      (
        await h1.exec([
          process.execPath,
          'dist/twill.js',
          'loglevel',
          ...words,
          `--local-socket=${h1.localSocket}`,
        ])
      ).trim()
    const before = await level()
    expect(await level('debug')).toBe('debug')
    expect(await level()).toBe('debug')
    await expect(level('loud')).rejects.toThrow(/LEVEL is 'loud': it must be trace/)
    await level(before)
  })

  it('are put right by the agent alone, when an operator asks for it', async () => {
    const [h1] = hosts as [Host]
    const fix = ['diff', '--fix', '--json']
    expect(await ask(fix, 'agent')).toMatchObject({ code: 0, document: { operations: [], shadows: [] } })
    const { stderr, code } = await h1.attempt([
      process.execPath,
      'dist/twill.js',
      ...fix,
      '--local-socket=/none',
    ])
    expect(stderr).toMatch(/^twill: No agent answers on '\/none': start twilld/)
    expect(code).toBe(2)
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
    const { leases } = (await ask(['map', '--json'], 'store')).document
    expect(leases.map(({ kernel }: { kernel: string }) => kernel)).toEqual(
      expect.arrayContaining(['differs', 'ok', null]),
    )
    await h1.exec(['sh', '-e'], { input: document.commands.join('\n') })
    expect(await table()).toBe(before)
    const nothing = { operations: [], commands: [], shadows: [] }
    expect(await ask(['diff', '--json'], 'store')).toEqual({ code: 0, document: nothing })
  })

  it('name a route of another that is used instead of our routes', async () => {
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
    expect(stderr).toMatch(
      /192\.168\.50\.253.*\ntwill: this is what the agent saw last of http:.*, saved at 20/,
    )
    expect(code).toBe(0)
  })
})
