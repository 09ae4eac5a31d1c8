import { isDeepStrictEqual } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Lease } from '../../../lease/lease.ts'
import { printLease } from '../../../lease/lease.ts'
import { LeaseLostError, LeaseRefusedError } from '../../../lease/store.ts'
import { defaultNetwork, openTestCluster } from '../../support/api_server_cluster.ts'
import { type OpenStore, openStore, requestFor, Watching } from '../../support/api_server_store.ts'
import { vtep } from '../../support/leases.ts'
import type { TestCluster } from '../../support/test_cluster.ts'
import { until } from '../../support/until.ts'

/** What holds on any cluster; runs on a real one where TWILL_TEST_KUBECONFIG names it. */

const flannel = 'flannel.alpha.coreos.com'
const dualNetwork =
  '{"Network":"10.244.0.0/16","IPv6Network":"fd00:12::/48","EnableIPv6":true,"Backend":{"Type":"vxlan"}}'

let cluster: TestCluster
let ends: (() => Promise<void>)[]

async function start(network = defaultNetwork): Promise<void> {
  cluster = await openTestCluster(network)
}

function open(node: string, more = {}): OpenStore {
  const opened = openStore(cluster.options(node, more))
  ends.push(() => opened.close())
  return opened
}

function acquire(opened: OpenStore, ...publicIps: string[]): Promise<Lease> {
  const acquiring = opened.store
    .networkConfig(opened.signal)
    .then(network => opened.store.acquire(requestFor(network, publicIps), opened.signal))
  // Where a test fails before it awaits the lease, that is the failure to be told of.
  acquiring.catch(() => {})
  return acquiring
}

/** A store that watches; its lines carry the tests' names of the Nodes. */
function watch(node = 'watcher'): { until(...lines: string[]): Promise<unknown>; watching: Watching } {
  const opened = open(node)
  const watching = new Watching(opened.store.watch(opened.signal))
  ends.push(() => watching.ended())
  const prefix = cluster.nodeName('')
  const lines = () =>
    watching
      .lines()
      .filter(line => line.startsWith(prefix))
      .map(line => line.slice(prefix.length))
  return {
    watching,
    until: (...expected) =>
      until(expected.join(' | '), () => lines().join('\n') === expected.join('\n'), {
        otherwise: () => lines().join(' | '),
      }),
  }
}

async function annotations(node: string): Promise<Record<string, string>> {
  const all = (await cluster.readNode(node)).metadata.annotations
  return Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith(flannel)))
}

async function makePeer(name: string, podCidrs: string[], publicIp: string, mac = '02:00:00:00:00:0a') {
  await cluster.createNode({ name, podCidrs })
  await cluster.annotate(name, {
    [`${flannel}/kube-subnet-manager`]: 'true',
    [`${flannel}/backend-type`]: 'vxlan',
    [`${flannel}/backend-data`]: `{"VNI":1,"VtepMAC":"${mac}"}`,
    [`${flannel}/public-ip`]: publicIp,
  })
}

beforeEach(() => {
  ends = []
})

afterEach(async () => {
  for (const end of ends) await end()
  await cluster.close()
})

describe('acquiring', () => {
  it("takes the podCIDR and publishes it in flannel's annotations, to the byte", async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const lease = await acquire(open('n1'), '192.168.0.1')
    expect(printLease(lease)).toBe('10.244.1.0/24 at 192.168.0.1')
    const { metadata } = await cluster.readNode('n1')
    expect(lease.node).toBe(cluster.nodeName('n1'))
    expect(lease.since).toBe(Date.parse(metadata.creationTimestamp))
    expect(await annotations('n1')).toEqual({
      [`${flannel}/backend-data`]: '{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}',
      [`${flannel}/backend-type`]: 'vxlan',
      [`${flannel}/kube-subnet-manager`]: 'true',
      [`${flannel}/pod-cidrs`]: '10.244.1.0/24',
      [`${flannel}/public-ip`]: '192.168.0.1',
    })
  })

  it('publishes both families of a dual-stack network, whatever the order of the podCIDRs', async () => {
    await start(dualNetwork)
    await cluster.createNode({ name: 'n1', podCidrs: ['fd00:12:0:1::/64', '10.244.1.0/24'] })
    const lease = await acquire(open('n1'), '192.168.0.1', 'fd00:a::1')
    expect(printLease(lease)).toBe('10.244.1.0/24 + fd00:12:0:1::/64 at 192.168.0.1 + fd00:a::1')
    expect(await annotations('n1')).toMatchObject({
      [`${flannel}/backend-v6-data`]: '{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}',
      [`${flannel}/pod-cidrs`]: 'fd00:12:0:1::/64,10.244.1.0/24',
      [`${flannel}/public-ipv6`]: 'fd00:a::1',
    })
  })

  it('writes nothing where nothing differs', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    await acquire(open('n1'), '192.168.0.1')
    const before = (await cluster.readNode('n1')).metadata.resourceVersion
    await acquire(open('n1'), '192.168.0.1')
    expect((await cluster.readNode('n1')).metadata.resourceVersion).toBe(before)
  })

  it.each([
    ['example.com', 'example.com/'],
    ['example.com/', 'example.com/'],
    ['example.com/net', 'example.com/net-'],
    ['example.com/net-', 'example.com/net-'],
  ])('writes under the prefix %s as %s', async (annotationPrefix, stem) => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    await acquire(open('n1', { annotationPrefix }), '192.168.0.1')
    const all = (await cluster.readNode('n1')).metadata.annotations
    expect(all[`${stem}public-ip`]).toBe('192.168.0.1')
  })

  it('hands the lease that stood in the annotations to who makes the backend data', async () => {
    await start()
    await makePeer('n1', ['10.244.1.0/24'], '192.168.0.9', '02:00:00:00:00:77')
    const { store, signal } = open('n1')
    let previous: Lease | undefined
    const request = requestFor(await store.networkConfig(signal), ['192.168.0.1'])
    const backendData = (lease: Lease | undefined) => {
      previous = lease
      return lease?.subnets.map(subnet => subnet.backendData) ?? []
    }
    await store.acquire({ ...request, backendData }, signal)
    expect(previous?.subnets[0]?.backendData).toEqual(vtep('02:00:00:00:00:77'))
    expect((await annotations('n1'))[`${flannel}/backend-data`]).toBe(
      '{"VNI":1,"VtepMAC":"02:00:00:00:00:77"}',
    )
  })

  it('publishes the overwrite in the place of the public IP, and says so in the lease', async () => {
    await start()
    await cluster.createNode({
      name: 'n1',
      podCidrs: ['10.244.1.0/24'],
      annotations: { [`${flannel}/public-ip-overwrite`]: '203.0.113.7' },
    })
    const lease = await acquire(open('n1'), '192.168.0.1')
    expect(printLease(lease)).toBe('10.244.1.0/24 at 203.0.113.7')
    expect((await annotations('n1'))[`${flannel}/public-ip`]).toBe('203.0.113.7')
  })

  it('waits for a podCIDR that is assigned late, and says the remedy once', async ({ skip }) => {
    await start()
    skip(await cluster.allocates(), 'this cluster assigns podCIDRs itself, and at once')
    await cluster.createNode({ name: 'n1' })
    const opened = open('n1')
    const acquiring = acquire(opened, '192.168.0.1')
    await until('the log', () => opened.log.matching(/podCIDR/).length > 0)
    await cluster.annotate('n1', { 'example.com/heartbeat': '1' })
    await cluster.annotate('n1', { 'example.com/heartbeat': '2' })
    await cluster.assignPodCidrs('n1', ['10.244.3.0/24'])
    expect(printLease(await acquiring)).toBe('10.244.3.0/24 at 192.168.0.1')
    const name = cluster.nodeName('n1')
    expect(opened.log.lines).toEqual([
      `warn: Waiting for a podCIDR of Node ${name}: none is assigned; run kube-controller-manager with --allocate-node-cidrs=true and --cluster-cidr, or set spec.podCIDR of the Node`,
    ])
  })

  it('takes the podCIDR that the cluster assigns, and gives its peers theirs', async ({ skip }) => {
    await start()
    skip(!(await cluster.allocates()), 'this cluster assigns no podCIDRs')
    await cluster.createNode({ name: 'n1' })
    const prefix = printLease(await acquire(open('n1'), '192.168.0.1'))
    expect(prefix).toBe(`${(await cluster.readNode('n1')).spec.podCIDR} at 192.168.0.1`)
    const peers = watch()
    await peers.until(`n1 vxlan ${prefix}`)
    await makePeer('n2', [], '192.168.0.2')
    const podCidr = async () => (await cluster.readNode('n2')).spec.podCIDR
    await until('the podCIDR of n2', async () => (await podCidr()) !== undefined)
    await peers.until(`n1 vxlan ${prefix}`, `n2 vxlan ${await podCidr()} at 192.168.0.2`)
  })

  it('waits for its Node to be registered', async () => {
    await start()
    const opened = open('n1')
    const acquiring = acquire(opened, '192.168.0.1')
    await until('the log', () => opened.log.matching(/there is none of that name/).length > 0)
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    expect(printLease(await acquiring)).toBe('10.244.1.0/24 at 192.168.0.1')
  })

  it('refuses a podCIDR outside of the network, names both, and shows it on the Node', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.9.1.0/24'] })
    const refused = await acquire(open('n1'), '192.168.0.1').catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(LeaseRefusedError)
    const reason = (refused as Error).message
    expect(reason).toMatch(
      /podCIDR 10\.9\.1\.0\/24 is outside of Network 10\.244\.0\.0\/16 in .*net-conf\.json/,
    )
    expect(await cluster.warnings('n1')).toEqual([reason])
  })

  it('refuses where the network has a family that the Node has no podCIDR of', async () => {
    await start(dualNetwork)
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    await expect(acquire(open('n1'), '192.168.0.1', 'fd00:a::1')).rejects.toThrow(
      /podCIDRs 10\.244\.1\.0\/24 hold none for IPv6Network fd00:12::\/48/,
    )
  })
})

describe('keeping', () => {
  async function keeping(node = 'n1'): Promise<{ opened: OpenStore; kept: Promise<void>; abort(): void }> {
    const opened = open(node)
    const lease = await acquire(opened, '192.168.0.1')
    const abort = new AbortController()
    const kept = opened.store.keep(lease, AbortSignal.any([opened.signal, abort.signal]))
    kept.catch(() => {})
    return { opened, kept, abort: () => abort.abort() }
  }

  it('resolves when it is told to stop', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { kept, abort } = await keeping()
    abort()
    await expect(kept).resolves.toBeUndefined()
  })

  it('publishes again what another writer removed or changed, and names it', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { opened } = await keeping()
    const published = await annotations('n1')
    const foreign = '{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}'
    await cluster.annotate('n1', {
      [`${flannel}/public-ip`]: null,
      [`${flannel}/backend-data`]: foreign,
    })
    await until('the annotations', async () => isDeepStrictEqual(await annotations('n1'), published), {
      otherwise: () => opened.log.lines.join('\n'),
    })
    expect(opened.log.matching(/again flannel\S+public-ip '192.168.0.1', as it was removed/)).toHaveLength(1)
    expect(
      opened.log.matching(
        /backend-data '\{.*\}', as it was changed to '\{"VNI":1,"VtepMAC":"02:00:00:00:00:99"\}'/,
      ),
    ).toHaveLength(1)
  })

  it('keeps its public IP where an overwrite is set, changed or removed while it runs, and warns once of each', async () => {
    await start()
    const overwrite = `${flannel}/public-ip-overwrite`
    await cluster.createNode({
      name: 'n1',
      podCidrs: ['10.244.1.0/24'],
      annotations: { [overwrite]: '203.0.113.7' },
    })
    const { opened } = await keeping()
    for (const [now, warned] of [
      ['203.0.113.8', 1],
      ['no address', 2],
      [null, 3],
    ] as const) {
      await cluster.annotate('n1', { [overwrite]: now })
      await until('the warning', () => opened.log.matching(/restart the agent/).length === warned)
    }
    await cluster.annotate('n1', { [overwrite]: '203.0.113.7' })
    await cluster.annotate('n1', { [`${flannel}/public-ip`]: '192.168.0.66' })
    await until(
      'the public IP',
      async () => (await annotations('n1'))[`${flannel}/public-ip`] === '203.0.113.7',
    )
    expect(opened.log.matching(/restart the agent/)).toEqual([
      `warn: Annotation ${overwrite} was '203.0.113.7' and is now '203.0.113.8': restart the agent of this node to follow it`,
      `warn: Annotation ${overwrite} was '203.0.113.7' and is now 'no address': restart the agent of this node to follow it`,
      `warn: Annotation ${overwrite} was '203.0.113.7' and is now '': restart the agent of this node to follow it`,
    ])
  })

  it('names a second host that runs under the name of its Node, and no other writer', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { opened } = await keeping()
    await cluster.annotate('n1', { [`${flannel}/public-ip`]: '192.168.0.9' })
    await until(
      'the public IP',
      async () => (await annotations('n1'))[`${flannel}/public-ip`] === '192.168.0.1',
    )
    expect(opened.store.health().conflict).toBeUndefined()
    expect(opened.log.matching(/Publishing again .* as it was changed to '192\.168\.0\.9'/)).toHaveLength(1)
    const other = open('n1')
    await acquire(other, '192.168.0.2')
    await until('the conflict', () => opened.store.health().conflict)
    const name = cluster.nodeName('n1')
    const said = `another host, at 192.168.0.2, runs an agent as Node ${name} too (this one is at 192.168.0.1): give each host a name of its own, in kubelet and NODE_NAME, and restart its agent`
    expect(opened.store.health().conflict).toBe(said)
    expect(opened.log.matching(/^error/)).toEqual([`error: ${said}`])
  })

  it('loses the lease where the Node was recreated with another podCIDR', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { kept } = await keeping()
    await cluster.deleteNode('n1')
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.9.0/24'] })
    await expect(kept).rejects.toBeInstanceOf(LeaseLostError)
    await expect(kept).rejects.toThrow(
      /podCIDR of Node \S*n1 was 10\.244\.1\.0\/24 and is 10\.244\.9\.0\/24 since the Node was recreated: .*drain the node/,
    )
  })

  it('says that peers do not reach this node while its Node is gone', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { opened } = await keeping()
    expect(opened.store.health().conflict).toBeUndefined()
    await cluster.deleteNode('n1')
    await until('the reason', () => opened.store.health().conflict)
    expect(opened.store.health().conflict).toContain(
      `peers do not reach the pods of this node: Waiting for Node ${cluster.nodeName('n1')}: there is none of that name`,
    )
    expect(opened.store.health().trouble).toBeUndefined()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    await until('the end of it', () => opened.store.health().conflict === undefined)
  })

  it('waits where the Node of a running node was recreated with podCIDRs that it cannot have', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { opened, kept } = await keeping()
    await cluster.deleteNode('n1')
    await cluster.createNode({ name: 'n1', podCidrs: ['10.9.1.0/24'] })
    await expect(kept).rejects.toBeInstanceOf(LeaseLostError)
    const again = acquire(opened, '192.168.0.1')
    const reason = () => opened.store.health().conflict
    await until('the reason', () => reason()?.includes('10.9.1.0/24 is outside of Network'))
    await cluster.deleteNode('n1')
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    expect(printLease(await again)).toBe('10.244.1.0/24 at 192.168.0.1')
    expect(reason()).toBeUndefined()
  })

  it('publishes again, the condition too, where the Node was recreated with the same podCIDR', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { opened } = await keeping()
    const published = await annotations('n1')
    await opened.store.announceReady(opened.signal)
    await cluster.deleteNode('n1')
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    await until('the annotations', async () => isDeepStrictEqual(await annotations('n1'), published))
    const condition = async () =>
      (await cluster.readNode('n1')).status.conditions?.find(({ type }) => type === 'NetworkUnavailable')
    await until('the condition', async () => (await condition())?.status === 'False')
  })
})

describe('watching', () => {
  it('sees peers come, change and go', async () => {
    await start()
    await makePeer('n2', ['10.244.2.0/24'], '192.168.0.2')
    const peers = watch()
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.2')
    await makePeer('n3', ['10.244.3.0/24'], '192.168.0.3')
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.2', 'n3 vxlan 10.244.3.0/24 at 192.168.0.3')
    await cluster.annotate('n2', { [`${flannel}/public-ip`]: '192.168.0.22' })
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.22', 'n3 vxlan 10.244.3.0/24 at 192.168.0.3')
    await cluster.deleteNode('n2')
    await peers.until('n3 vxlan 10.244.3.0/24 at 192.168.0.3')
  })

  it('takes a Node for a peer as long as it carries the manager annotation', async () => {
    await start()
    await cluster.createNode({ name: 'other', podCidrs: ['10.244.7.0/24'] })
    await makePeer('n2', ['10.244.2.0/24'], '192.168.0.2')
    const peers = watch()
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.2')
    await cluster.annotate('n2', { [`${flannel}/kube-subnet-manager`]: null })
    await peers.until()
    await cluster.annotate('n2', { [`${flannel}/kube-subnet-manager`]: 'true' })
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.2')
  })

  it('sees the new podCIDR of a Node that was deleted and recreated', async () => {
    await start()
    await makePeer('n2', ['10.244.2.0/24'], '192.168.0.2')
    const peers = watch()
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.2')
    await cluster.deleteNode('n2')
    await makePeer('n2', ['10.244.5.0/24'], '192.168.0.2')
    await peers.until('n2 vxlan 10.244.5.0/24 at 192.168.0.2')
  })

  it('sees one family of two change alone', async () => {
    await start(dualNetwork)
    await makePeer('n2', ['10.244.2.0/24', 'fd00:12:0:2::/64'], '192.168.0.2')
    await cluster.annotate('n2', {
      [`${flannel}/backend-v6-data`]: '{"VNI":1,"VtepMAC":"02:00:00:00:00:0b"}',
      [`${flannel}/public-ipv6`]: 'fd00:a::2',
    })
    const peers = watch()
    const both = 'n2 vxlan 10.244.2.0/24 + fd00:12:0:2::/64 at'
    await peers.until(`${both} 192.168.0.2 + fd00:a::2`)
    await cluster.annotate('n2', { [`${flannel}/public-ipv6`]: 'fd00:a::22' })
    await peers.until(`${both} 192.168.0.2 + fd00:a::22`)
    await cluster.annotate('n2', {
      [`${flannel}/backend-v6-data`]: '{"VNI":1,"VtepMAC":"02:00:00:00:00:0c"}',
    })
    const data = () => {
      const lease = peers.watching.changes.at(-1)?.table.get(cluster.nodeName('n2'))
      return JSON.stringify(lease?.subnets.map(subnet => subnet.backendData))
    }
    await until(
      'the MAC',
      () => data() === '[{"vni":1,"mac":"02:00:00:00:00:0a"},{"vni":1,"mac":"02:00:00:00:00:0c"}]',
    )
  })

  it('takes no notice of a family that is not of the network, and says so in one line', async () => {
    await start()
    for (const n of [2, 3]) {
      await makePeer(`n${n}`, [`10.244.${n}.0/24`, `fd00:12:0:${n}::/64`], `192.168.0.${n}`)
      await cluster.annotate(`n${n}`, {
        [`${flannel}/backend-v6-data`]: 'null',
        [`${flannel}/public-ipv6`]: 'garbage',
      })
    }
    const opened = open('watcher')
    await opened.store.networkConfig(opened.signal)
    const watching = new Watching(opened.store.watch(opened.signal))
    ends.push(() => watching.ended())
    const name = (n: number) => cluster.nodeName(`n${n}`)
    const lines = [2, 3].map(n => `${name(n)} vxlan 10.244.${n}.0/24 at 192.168.0.${n}`)
    await watching.lines_are(lines, new RegExp(`^${cluster.nodeName('n')}`))
    expect(watching.problems()).toEqual([])
    expect(opened.log.matching(/ipv6/)).toHaveLength(1)
    expect(opened.log.matching(/Ignoring the annotation \S+public-ipv6 of \d+ Nodes/)).toHaveLength(1)
  })

  it('has no problem with its own Node, whose annotations its agent puts back', async () => {
    await start()
    await makePeer('n2', ['10.244.2.0/24'], '192.168.0.2')
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const opened = open('n1')
    await acquire(opened, '192.168.0.1')
    await cluster.annotate('n1', { [`${flannel}/backend-type`]: null })
    const watching = new Watching(opened.store.watch(opened.signal))
    ends.push(() => watching.ended())
    await until('the table', () => watching.changes.length > 0)
    expect(watching.problems()).toEqual([])
  })

  it('keeps the lease that stood where an annotation becomes unreadable, and reports it', async () => {
    await start()
    await makePeer('n2', ['10.244.2.0/24'], '192.168.0.2')
    const peers = watch()
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.2')
    await cluster.annotate('n2', { [`${flannel}/public-ip`]: '192.168.0.256' })
    await until('the problem', () => peers.watching.problems().length > 0)
    expect(peers.watching.problems()[0]).toMatch(
      /n2: annotation flannel\.alpha\.coreos\.com\/public-ip: .*'192\.168\.0\.256'/,
    )
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.2')
    await cluster.annotate('n2', { [`${flannel}/public-ip`]: '192.168.0.25' })
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.25')
    expect(peers.watching.problems()).toEqual([])
  })

  it('stand beside a Node whose annotation is JSON nested 5,000 deep, which is named', async () => {
    await start()
    await makePeer('n2', ['10.244.2.0/24'], '192.168.0.2')
    await makePeer('n3', ['10.244.3.0/24'], '192.168.0.3')
    const deep = `${'['.repeat(5_000)}${']'.repeat(5_000)}`
    const peers = watch()
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.2', 'n3 vxlan 10.244.3.0/24 at 192.168.0.3')
    for (const data of [deep, deep.replace('[[', '[1,['), '{"VNI":1'])
      await cluster.annotate('n3', { [`${flannel}/backend-data`]: data })
    await until('the problem', () => peers.watching.problems().some(problem => problem.includes('{\\"VNI')))
    await cluster.annotate('n2', { [`${flannel}/public-ip`]: '192.168.0.25' })
    await peers.until('n2 vxlan 10.244.2.0/24 at 192.168.0.25', 'n3 vxlan 10.244.3.0/24 at 192.168.0.3')
    expect(peers.watching.problems().join()).toMatch(
      /n3: annotation flannel\.alpha\.coreos\.com\/backend-data: /,
    )
    expect(peers.watching.problems().join().length).toBeLessThan(1_000)
  })

  it('has our own lease among them', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const peers = watch()
    await acquire(open('n1'), '192.168.0.1')
    await peers.until('n1 vxlan 10.244.1.0/24 at 192.168.0.1')
  })
})

describe('the reporter', () => {
  it("sets NetworkUnavailable to False in flannel's words, once", async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { store, signal } = open('n1')
    await store.announceReady(signal)
    const [condition] = (await cluster.readNode('n1')).status.conditions.filter(
      ({ type }) => type === 'NetworkUnavailable',
    )
    expect(condition).toEqual({
      type: 'NetworkUnavailable',
      status: 'False',
      reason: 'FlannelIsUp',
      message: 'Flannel is running on this node',
      lastTransitionTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      lastHeartbeatTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    })
    const before = (await cluster.readNode('n1')).metadata.resourceVersion
    await store.announceReady(signal)
    expect((await cluster.readNode('n1')).metadata.resourceVersion).toBe(before)
  })

  it('leaves the condition alone where the options say so', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { store, signal } = open('n1', { setNodeNetworkUnavailable: false })
    await store.announceReady(signal)
    const conditions = (await cluster.readNode('n1')).status.conditions ?? []
    expect(conditions.filter(({ reason }) => reason === 'FlannelIsUp')).toEqual([])
  })

  it('shows a problem of its own lease on the Node, once, and leaves those of others to them', async () => {
    await start()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    const { store, signal } = open('n1')
    const [key, other] = [cluster.nodeName('n1'), cluster.nodeName('n2')]
    await store.report({ key, reason: 'subnet 10.244.1.0/24 overlaps 10.244.0.0/20' }, signal)
    await store.report({ key, reason: 'subnet 10.244.1.0/24 overlaps 10.244.0.0/20' }, signal)
    await store.report({ key: other, reason: 'public IP 127.0.0.1' }, signal)
    expect(await cluster.warnings('n1')).toEqual(['subnet 10.244.1.0/24 overlaps 10.244.0.0/20'])
    expect(await cluster.warnings('n2')).toEqual([])
  })

  it('gives the public IPs that the operator chose by annotation', async () => {
    await start()
    await cluster.createNode({
      name: 'n1',
      annotations: {
        [`${flannel}/node-public-ip`]: '198.51.100.1',
        [`${flannel}/node-public-ipv6`]: 'fd00:b::1',
      },
    })
    const { store, signal } = open('n1')
    expect(await store.publicIpHints(signal)).toEqual(['198.51.100.1', 'fd00:b::1'])
  })
})
