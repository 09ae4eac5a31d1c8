import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ApiConfigError } from '../../../lease/kubernetes/client/kubeconfig.ts'
import { printLease } from '../../../lease/lease.ts'
import { NetworkConfigError } from '../../../lease/network_config/network_config.ts'
import { LeaseLostError } from '../../../lease/store.ts'
import { FakeCluster } from '../../support/api_server_cluster.ts'
import { type OpenStore, openStore, requestFor } from '../../support/api_server_store.ts'
import { runSync } from '../../support/exec.ts'
import { until } from '../../support/until.ts'

const flannel = 'flannel.alpha.coreos.com'

let cluster: FakeCluster
let opened: OpenStore[]

function open(more = {}): OpenStore {
  const one = openStore(cluster.options('n1', more))
  opened.push(one)
  return one
}

async function acquire({ store, signal }: OpenStore) {
  return await store.acquire(requestFor(await store.networkConfig(signal), ['192.168.0.1']), signal)
}

beforeEach(async () => {
  opened = []
  cluster = await FakeCluster.open()
  await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
})

afterEach(async () => {
  vi.unstubAllEnvs()
  for (const one of opened) await one.close()
  await cluster.close()
})

describe('the network config file', () => {
  it.each([
    ['is missing', undefined, /net-conf\.json: ENOENT.*; mount the ConfigMap with net-conf\.json there/],
    ['is a pipe', 'pipe', /net-conf\.json: it is no regular file; mount the ConfigMap/],
    ['is no JSON', '{"Network":', /net-conf\.json: Cannot parse the network config/],
    ['has no Network', '{}', /net-conf\.json: .*Network parameter .* it is missing/],
    [
      'lacks the other family',
      '{"Network":"10.244.0.0/16","EnableIPv6":true}',
      /IPv6Network parameter .* it is missing/,
    ],
  ])('is refused by name and rule where it %s', async (_, text, message) => {
    const networkConfigFile = join(cluster.folder, 'other-net-conf.json')
    if (text === 'pipe') runSync(['mkfifo', networkConfigFile])
    else if (text !== undefined) writeFileSync(networkConfigFile, text)
    const { store, signal } = open({ networkConfigFile })
    const refused = await store.networkConfig(signal).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(NetworkConfigError)
    expect((refused as Error).message).toMatch(message)
  })
})

describe('a network config that changes while the agent runs', () => {
  it('is said once, and that a restart applies it, until it is as before', async () => {
    const one = open()
    const kept = one.store.keep(await acquire(one), one.signal)
    const file = join(cluster.folder, 'net-conf.json')
    const text = readFileSync(file, 'utf8')
    const noticed = async (pattern: RegExp) =>
      await until(String(pattern), () => pattern.test(one.store.health().notice ?? 'none'))
    writeFileSync(file, text.replace('10.244.0.0/16', '10.0.0.0/8'))
    await noticed(/has changed: .*restart the agents to apply it, as with: kubectl/)
    writeFileSync(file, '{')
    await noticed(/was changed and cannot be used/)
    rmSync(file)
    await noticed(/cannot be used: ENOENT/)
    writeFileSync(file, ` ${text}`)
    await noticed(/^none$/)
    expect(one.log.matching(/network config .* has changed/)).toHaveLength(1)
    await one.close()
    await kept
  })
})

describe('RBAC', () => {
  it.each([
    ['patch nodes/status', 'patch', 'nodes/status', 'publish the annotations'],
    ['list nodes', 'list', 'nodes', 'list Node n1'],
  ])('that lacks %s is named with the rule to add, and waited for', async (rule, verb, resource, what) => {
    cluster.server.rules.delete(rule)
    const one = open()
    const acquiring = acquire(one)
    await until('the log', () => one.log.matching(/RBAC/).length > 0)
    expect(one.log.matching(/RBAC/)[0]).toMatch(new RegExp(`^error: Cannot ${what}, trying again: `))
    expect(one.log.matching(/RBAC/)[0]).toContain(
      `- {apiGroups: [""], resources: ["${resource}"], verbs: ["${verb}"]}`,
    )
    expect(one.store.health().trouble).toContain('HTTP 403')
    cluster.server.rules.add(rule)
    expect(printLease(await acquiring)).toBe('10.244.1.0/24 at 192.168.0.1')
    expect(one.log.matching(/RBAC/)).toHaveLength(1)
  })

  it('and what else an operator has to mend is an error, a server that fails a warning', async () => {
    const faults: [number, string][] = [
      [422, 'error'],
      [500, 'warn'],
    ]
    for (const [status, level] of faults) {
      cluster.server.fault = ({ action }) =>
        action === 'patch nodes/status' ? { kind: 'status', status } : undefined
      const one = open()
      const acquiring = acquire(one)
      const refused = new RegExp(`^${level}: Cannot publish the annotations, trying again: .*HTTP ${status}`)
      await until('the log', () => one.log.matching(refused).length > 0)
      cluster.server.fault = () => undefined
      await acquiring
      await cluster.annotate('n1', { [`${flannel}/public-ip`]: null })
    }
  })

  it('that lacks events does not keep the agent waiting', async () => {
    cluster.server.rules.delete('create events')
    const one = open()
    await one.store.report({ key: 'n1', reason: 'subnet overlaps' }, one.signal)
    expect(one.log.lines[0]).toContain('- {apiGroups: [""], resources: ["events"], verbs: ["create"]}')
    expect(one.store.health().trouble).toBeUndefined()
  })

  it('is told of a peer that flaps in twenty events at most, each printable and short', async () => {
    const one = open()
    for (let n = 0; n < 200; n++)
      await one.store.report({ key: 'n1', reason: `${n} \u202e${'\u001b'.repeat(5_000)}` }, one.signal)
    const messages = await cluster.warnings('n1')
    expect(messages).toHaveLength(20)
    for (const message of messages) {
      expect(message.length).toBeLessThanOrEqual(1_000)
      expect(message).not.toMatch(/\p{C}/u)
    }
  })

  it('that lacks one verb is trouble that ages, whatever else is answered meanwhile', async () => {
    cluster.server.rules.delete('watch nodes')
    const one = open()
    const kept = one.store.keep(await acquire(one), one.signal)
    await until('the refusal', () => one.store.health().trouble)
    const began = performance.now()
    let askedAt = 0
    await until('other answers', async () => {
      askedAt = Date.now()
      await one.store.announceReady(one.signal)
      return performance.now() - began > 500
    })
    const { trouble, troubleMs, lastContactMs } = one.store.health()
    expect(trouble).toContain('Cannot watch nodes')
    expect(troubleMs).toBeGreaterThan(500)
    expect(lastContactMs).toBeGreaterThanOrEqual(askedAt)
    cluster.server.rules.add('watch nodes')
    await until('no trouble', () => one.store.health().trouble === undefined)
    expect(one.store.health().troubleMs).toBe(0)
    await one.close()
    await kept
  })

  it('that lacks the right to publish is what is named once the podCIDR is there', async () => {
    cluster.server.rules.delete('patch nodes/status')
    await cluster.deleteNode('n1')
    const one = open()
    const acquiring = acquire(one)
    await until('the first reason', () => one.store.health().trouble?.includes('there is none of that name'))
    await cluster.createNode({ name: 'n1' })
    await until('the second reason', () => one.store.health().trouble?.includes('none is assigned'))
    await cluster.assignPodCidrs('n1', ['10.244.1.0/24'])
    await until('the third reason', () => one.store.health().trouble?.includes('HTTP 403'))
    cluster.server.rules.add('patch nodes/status')
    await acquiring
    expect(one.store.health().trouble).toBeUndefined()
  })

  it('needs pods only where NODE_NAME is not given', async () => {
    cluster.server.rules.delete('get pods')
    expect(printLease(await acquire(open()))).toBe('10.244.1.0/24 at 192.168.0.1')
    expect(cluster.server.seen('get pods')).toEqual([])
  })
})

describe('the name of the Node', () => {
  it("is the pod's where NODE_NAME is not given", async () => {
    cluster.server.pods.set('kube-flannel/twill-x1', 'n1')
    const one = open({ nodeName: undefined, podName: 'twill-x1', podNamespace: 'kube-flannel' })
    expect((await acquire(one)).node).toBe('n1')
    expect(cluster.server.seen('get pods')).toHaveLength(1)
  })

  it('is asked for where neither is given', () => {
    expect(() => open({ nodeName: undefined })).toThrow(/set NODE_NAME \(fieldRef: spec\.nodeName\)/)
  })
})

describe('the way to the API server', () => {
  it('is asked for where there is none', () => {
    vi.stubEnv('KUBERNETES_SERVICE_HOST', '')
    expect(() => open({ kubeconfigFile: undefined })).toThrow(ApiConfigError)
    expect(() => open({ kubeconfigFile: undefined })).toThrow(/KUBERNETES_SERVICE_HOST is not set/)
  })

  it('is the URL given, with what the kubeconfig has besides', async () => {
    const kubeconfigFile = join(cluster.folder, 'elsewhere')
    cluster.server.tokens = new Set(['abc'])
    const { url } = cluster.server
    cluster.server.writeKubeconfig(kubeconfigFile, '{token: abc}')
    const one = open({ kubeconfigFile, apiUrl: `${url}/` })
    expect(printLease(await acquire(one))).toBe('10.244.1.0/24 at 192.168.0.1')
  })

  it.each(['Flannel.example.com', 'example', 'example.com/a/b', 'example.com/A', ''])(
    'is not walked with the annotation prefix %s',
    annotationPrefix => {
      expect(() => open({ annotationPrefix })).toThrow(/Cannot use annotation prefix '.*lower-case DNS name/)
    },
  )
})

describe('keeping', () => {
  it('loses the lease where the podCIDR is taken away', async () => {
    const one = open()
    const kept = one.store.keep(await acquire(one), one.signal)
    await cluster.assignPodCidrs('n1', [])
    await expect(kept).rejects.toBeInstanceOf(LeaseLostError)
    await expect(kept).rejects.toThrow(/was 10\.244\.1\.0\/24 and is none: .*drain the node/)
  })

  it('answers one who writes the same annotation again and again less and less', async () => {
    const one = openStore(cluster.options('n1'), { pace: { minMs: 100, maxMs: 400 } })
    opened.push(one)
    const kept = one.store.keep(await acquire(one), one.signal)
    const since = cluster.server.requests.length
    const fight = cluster.server.storage.onChange
    cluster.server.storage.onChange = entry => {
      fight(entry)
      if (entry.stored.raw.metadata.annotations[`${flannel}/public-ip`] === '192.168.0.1')
        setImmediate(() => void cluster.annotate('n1', { [`${flannel}/public-ip`]: '192.168.0.66' }))
    }
    await cluster.annotate('n1', { [`${flannel}/public-ip`]: '192.168.0.66' })
    const began = performance.now()
    await until('four answers', () => cluster.server.seen('patch nodes/status', since).length >= 4)
    expect(performance.now() - began).toBeGreaterThan(50 + 100 + 200 + 400)
    cluster.server.storage.onChange = fight
    await one.close()
    await kept
  })
})

describe('what the agent writes to nodes/status', () => {
  it('is its annotations and the condition NetworkUnavailable, and nothing else', async () => {
    const one = open()
    await acquire(one)
    await one.store.announceReady(one.signal)
    const patches = cluster.server.seen('patch nodes/status')
    expect(patches.map(({ path }) => path)).toEqual(Array(2).fill('/api/v1/nodes/n1/status'))
    expect(patches.map(({ contentType }) => contentType)).toEqual(
      Array(2).fill('application/strategic-merge-patch+json'),
    )
    const [annotations, condition] = patches.map(({ body }): unknown => JSON.parse(body))
    expect(annotations).toEqual({
      metadata: {
        annotations: {
          [`${flannel}/backend-data`]: expect.stringContaining('"VtepMAC"'),
          [`${flannel}/backend-type`]: 'vxlan',
          [`${flannel}/kube-subnet-manager`]: 'true',
          [`${flannel}/pod-cidrs`]: '10.244.1.0/24',
          [`${flannel}/public-ip`]: '192.168.0.1',
        },
      },
    })
    const date = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    const words = {
      type: 'NetworkUnavailable',
      status: 'False',
      reason: 'FlannelIsUp',
      message: 'Flannel is running on this node',
    }
    expect(condition).toEqual({
      status: { conditions: [{ ...words, lastTransitionTime: date, lastHeartbeatTime: date }] },
    })
  })
})
