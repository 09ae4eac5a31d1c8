import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../../support/agent.ts'
import { FakeCluster } from '../../support/api_server_cluster.ts'
import { Bed, whyNoBed } from '../../support/bed.ts'
import { Gateway } from '../../support/gateway.ts'
import type { Host } from '../../support/host.ts'
import { bothWays, lostWhile, untilReached } from '../../support/pings.ts'
import type { Pod } from '../../support/pod.ts'
import { until } from '../../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const flannel = 'flannel.alpha.coreos.com'

describe.skipIf(why !== undefined)('a node of a cluster', () => {
  let bed: Bed
  let cluster: FakeCluster
  let gateway: Gateway
  let [h1, h2, h3]: Host[] = []
  let agent: Agent
  let second: Agent
  let one: Pod
  let two: Pod

  beforeEach(async () => {
    bed = await Bed.create({ name: 'holdkube' })
    cluster = await FakeCluster.open()
    gateway = await Gateway.open(bed.directory, Number(new URL(cluster.server.url).port))
    const lan = await bed.segment('lan', ['192.168.50.0/24'])
    const hosts = await Promise.all(['h1', 'h2', 'h3'].map(name => bed.host(name, lan)))
    await Promise.all(hosts.map(host => gateway.lead(host)))
    ;[h1, h2, h3] = hosts
    for (const n of [1, 2]) await cluster.createNode({ name: `n${n}`, podCidrs: [`10.244.${n}.0/24`] })
    ;[agent, second] = await Promise.all([start(first(), 'n1'), start(other(), 'n2')])
    one = await first().pod()
    two = await other().pod()
    await reach(one, two)
  })
  afterEach(async () => {
    await bed.dispose()
    gateway.close()
    await cluster.close()
  })

  const first = () => h1 as Host
  const other = () => h2 as Host
  const third = () => h3 as Host
  const reach = (from: Pod, to: Pod) => untilReached(from, to.address())
  const routesTo = async (subnet: string) =>
    (await first().routes()).filter(line => line.startsWith(`${subnet} via`)).length
  const publicIp = async (node: string) =>
    (await cluster.readNode(node)).metadata.annotations[`${flannel}/public-ip`]

  /** Both ways. */
  const lost = (act?: () => Promise<unknown>) => lostWhile(bothWays(one, two), act)

  it('that was renamed is not cut off by the Node of its former name, neither while that stays nor when it goes', async () => {
    await second.stop()
    await other().ip(['address delete 10.244.2.1/24 dev cni0', 'address add 10.244.22.1/24 dev cni0'])
    await cluster.createNode({ name: 'renamed', podCidrs: ['10.244.22.0/24'] })
    second = await start(other(), 'renamed')
    two = await other().pod()
    await reach(one, two)
    expect([await routesTo('10.244.2.0/24'), await routesTo('10.244.22.0/24')]).toEqual([1, 1])
    const missing = await lost(async () => {
      // What a heartbeat of the kubelet or a hand changes on the Node that stayed.
      await cluster.annotate('n2', { 'example.com/touched': 'yes' })
      await cluster.deleteNode('n2')
      await until('its route to go', async () => (await routesTo('10.244.2.0/24')) === 0)
    })
    expect(missing).toEqual([])
    await until('the node to be ready', async () => (await other().readyz()).status === 200, {
      otherwise: () => second.process.text().slice(-3000),
    })
    expect((await first().readyz()).status).toBe(200)
  })

  it('is not cut off by a Node that has its address, as that of a machine which it replaced', async () => {
    const missing = await lost(async () => {
      await cluster.createNode({ name: 'replaced', podCidrs: ['10.244.77.0/24'] })
      await cluster.annotate('replaced', {
        [`${flannel}/kube-subnet-manager`]: 'true',
        [`${flannel}/backend-type`]: 'vxlan',
        [`${flannel}/backend-data`]: '{"VNI":1,"VtepMAC":"02:00:00:00:00:77"}',
        [`${flannel}/public-ip`]: other().address(),
      })
      await until('its route', async () => (await routesTo('10.244.77.0/24')) === 1)
      await agent.logs(/^several leases have one public IP/)
      await cluster.deleteNode('replaced')
      await until('its route to go', async () => (await routesTo('10.244.77.0/24')) === 0)
    })
    expect(missing).toEqual([])
    expect(agent.log().filter(({ msg }) => msg.startsWith('several leases have one public IP'))).toHaveLength(
      1,
    )
  })

  it('that gets the address of one that is off publishes it, and is reached there; the Node of the other stays as it is', async () => {
    await cluster.createNode({ name: 'n3', podCidrs: ['10.244.3.0/24'] })
    const gone = await start(third(), 'n3')
    await until('its route', async () => (await routesTo('10.244.3.0/24')) === 1)
    await gone.kill9()
    const [address, own] = [third().address(), other().address()]
    await third().ip([`address delete ${address}/24 dev eth0`])
    const left = (await cluster.readNode('n3')).metadata.annotations
    await other().ip([`address delete ${own}/24 dev eth0`, `address add ${address}/24 dev eth0`])
    for (const host of [first(), other()]) await host.ip(['neigh flush dev eth0'])
    await until('the address to be published', async () => (await publicIp('n2')) === address)
    await reach(one, two)
    expect(await lost()).toEqual([])
    expect(other().subnetEnv().FLANNEL_SUBNET).toBe('10.244.2.1/24')
    expect((await cluster.readNode('n3')).metadata.annotations).toEqual(left)
    await until('both to be ready', async () => {
      const answers = await Promise.all([first(), other()].map(host => host.readyz()))
      return answers.every(({ status }) => status === 200)
    })
  })

  it('keeps its public IP when public-ip-overwrite is set while it runs, and follows it at the next start', async () => {
    await other().ip(['address add 192.168.50.102/32 dev eth0'])
    const missing = await lost(async () => {
      await cluster.annotate('n2', { [`${flannel}/public-ip-overwrite`]: '192.168.50.102' })
      const said = await second.logs(/public-ip-overwrite was '' and is now '192\.168\.50\.102': restart/)
      expect(said.level).toBe('warn')
    })
    expect([missing, await publicIp('n2')]).toEqual([[], other().address()])
    const afterwards = await lost(async () => {
      await second.stop()
      second = await start(other(), 'n2')
      await until('the overwrite', async () => (await publicIp('n2')) === '192.168.50.102')
    })
    expect(afterwards).toEqual([])
    await until('the peer to lead there', async () =>
      (await first().exec(['bridge', 'fdb', 'show', 'dev', 'flannel.1'])).includes('dst 192.168.50.102'),
    )
    await reach(one, two)
  })

  it('whose name a second host has too says so on /readyz of both, and is reached when that one ends', async () => {
    const twin = launch(third(), 'n2')
    await until(
      'both to name the other',
      async () =>
        (await other().readyz()).body.includes(
          `another host, at ${third().address()}, runs an agent as Node n2`,
        ) &&
        (await third().readyz()).body.includes(
          `another host, at ${other().address()}, runs an agent as Node n2`,
        ),
      { withinMs: 60_000, otherwise: () => twin.process.text().slice(-3000) },
    )
    for (const it of [second, twin])
      expect(it.log().filter(({ msg }) => msg.startsWith('Publishing again')).length).toBeLessThan(4)
    await twin.stop()
    await until(
      'the address to be published again',
      async () => (await publicIp('n2')) === other().address(),
      {
        withinMs: 90_000,
      },
    )
    await reach(one, two)
    expect(other().subnetEnv().FLANNEL_SUBNET).toBe('10.244.2.1/24')
  })

  function launch(host: Host, node: string): Agent {
    const { networkConfigFile, kubeconfigFile } = cluster.options(node)
    const flags = [
      '--kube-subnet-mgr',
      `--kubeconfig-file=${kubeconfigFile}`,
      `--net-config-path=${networkConfigFile}`,
    ]
    return host.launchAgent({ endpoints: [], flags, env: { NODE_NAME: node } })
  }

  async function start(host: Host, node: string): Promise<Agent> {
    const started = launch(host, node)
    await started.ready()
    return started
  }
})
