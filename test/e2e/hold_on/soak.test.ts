import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Random } from '../../chaos/random.ts'
import { type Agent, healthPort } from '../../support/agent.ts'
import { whyNoBed } from '../../support/bed.ts'
import type { Host } from '../../support/host.ts'
import { type OverlayBed, overlayBed } from '../../support/overlay_bed.ts'
import { bothWays, lostWhile } from '../../support/pings.ts'
import type { Pod } from '../../support/pod.ts'
import { sharedByTests } from '../../support/shared_by_tests.ts'
import { until } from '../../support/until.ts'
import { macOf, type SoakFault, type SoakStage, type Struck, soakFaults } from './soak_faults.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

/** TWILL_SOAK_SECONDS=600 continues for ten minutes after each fault was drawn once; TWILL_SOAK_SEED draws the same again. */
const seconds = Number(process.env.TWILL_SOAK_SECONDS ?? 0)
const seed = Number(process.env.TWILL_SOAK_SEED ?? (process.env.CI ? 1 : Date.now() % 1_000_000))
const folder = '/coreos.com/network/subnets'

interface Node extends Struck {
  agent: Agent
  readonly pod: Pod
  readonly subnet: string
  readonly mac: string
  /** All that it ever was reached by. */
  readonly homes: string[]
}

/** Faults of hosts, links, addresses, routes, files and keys, one after the other: no node changes its subnet or interface. */
describe.skipIf(why !== undefined)(`nodes under faults (TWILL_SOAK_SEED=${seed})`, () => {
  let overlay: OverlayBed
  let nodes: Node[]
  let stage: SoakStage
  sharedByTests(async () => {
    overlay = await overlayBed('soak', ['h1', 'h2', 'h3'])
    await overlay.bed.router('router', [overlay.lan])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    nodes = await Promise.all(overlay.hosts.map(nodeOn))
    let last = 100
    stage = {
      random: new Random(seed),
      etcd: overlay.etcd,
      nextAddress: () => `192.168.50.${++last}`,
      announce: async () => {
        await Promise.all(overlay.hosts.map(host => host.ip(['neigh flush dev eth0'])))
      },
    }
    await settled('the start')
    return overlay
  })

  async function nodeOn(host: Host): Promise<Node> {
    const cniFile = join(host.directory, 'net.d', '10-flannel.conflist')
    const start = () =>
      host.startAgent({
        endpoints: overlay.etcd.endpoints,
        iface: '',
        flags: [`--cni-conf-file=${cniFile}`, '--resync=2'],
      })
    const agent = await start()
    const pod = await host.pod()
    const subnet = host.subnetEnv().FLANNEL_SUBNET ?? ''
    const key = `${folder}/${subnet.replace('.1/', '.0-')}`
    const node: Node = {
      ...{ host, agent, pod, subnet, key, cniFile, mac: await macOf(host) },
      home: host.address(),
      homes: [host.address()],
      restart: async () => {
        await node.agent.kill9()
        node.agent = await start()
      },
    }
    return node
  }

  const reaches = async (a: Node, b: Node) =>
    (await a.pod.ping(b.pod.address(), { count: 1, timeoutSeconds: 0.3 })).length === 1

  /** Why the network is not whole; undefined where it is. */
  async function trouble(): Promise<string | undefined> {
    for (const node of nodes) {
      const { host, key, home, mac } = node
      const answer = await host.httpGet(healthPort, '/readyz')
      if (answer?.status !== 200) return `${host.name} is not ready: ${answer?.body}`
      const value = await overlay.etcd.ctl('get', '--print-value-only', key)
      if (!value.includes(`"PublicIP":"${home}"`) || !value.includes(mac)) return `${key} is ${value}`
      const link = await host.exec(['ip', '-d', 'link', 'show', 'flannel.1'])
      if (!link.includes(`local ${home} dev eth0`)) return `${host.name} has ${link}`
      for (const other of nodes)
        if (other !== node && !(await reaches(node, other)))
          return `${host.name} does not reach ${other.host.name}`
    }
    return undefined
  }

  async function settled(after: string): Promise<void> {
    let last: string | undefined
    await until(
      `the network to be whole after ${after}`,
      async () => {
        last = await trouble()
        return last === undefined
      },
      { withinMs: 60_000, everyMs: 50, otherwise: () => `${last}\n${overlay.bed.logs(1_500)}` },
    )
  }

  /** Nothing moved that had no reason to. */
  async function check(after: string): Promise<void> {
    const keys = (await overlay.etcd.ctl('get', '--prefix', '--keys-only', folder)).split('\n')
    expect(keys.filter(Boolean).sort(), after).toEqual(nodes.map(({ key }) => key).sort())
    for (const { host, subnet, mac, agent, homes, home } of nodes) {
      if (!homes.includes(home)) homes.push(home)
      await until('subnet.env', () => subnetOf(host) === subnet)
      expect([await macOf(host), agent.process.exit], `${host.name} after ${after}`).toEqual([mac, undefined])
      for (const { msg, now } of agent.log()) {
        expect(msg, after).not.toMatch(/this node's subnet was/)
        if (msg === 'external interface changed')
          expect(
            homes.flatMap(ip => [`eth0 with ${ip}`, `br0 with ${ip}`]),
            after,
          ).toContain(now)
      }
    }
  }

  async function strike(fault: SoakFault): Promise<void> {
    const [one, other] = stage.random.some(nodes, 2) as [Node, Node]
    const what = `'${fault.name}' on ${one.host.name}, with ${other.host.name}`
    const act = () => fault.act(one, other, stage)
    if (fault.mayLose) await act()
    else {
      const lost = await lostWhile(bothWays(one.pod, other.pod), async () => {
        await act()
        await sleep(1_000)
      })
      expect(lost, what).toEqual([])
    }
    await settled(what)
    await check(what)
  }

  const names = new Map(soakFaults.map(fault => [fault.name, fault]))
  it.each([...names.keys()])('%s', name => strike(names.get(name) as SoakFault))

  it.runIf(seconds > 0)(
    'in any order, for as long as was asked',
    async () => {
      for (const end = Date.now() + seconds * 1_000; Date.now() < end; )
        await strike(stage.random.one(soakFaults))
    },
    seconds * 1_000 + 180_000,
  )
})

function subnetOf(host: Host): string | undefined {
  try {
    return host.subnetEnv().FLANNEL_SUBNET
  } catch {
    return undefined
  }
}
