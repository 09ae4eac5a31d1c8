import { describe, expect, it } from 'vitest'
import { annotationNames } from '../../lease/kubernetes/nodes/annotations.ts'
import { denials } from '../support/admission_policy.ts'
import type { RawNode } from '../support/api_server_nodes.ts'
import { readManifests } from './yaml.ts'

/** The policies by an evaluator of their language; what it stands for is an API server of 1.30 and later. */

const policies = readManifests('kubernetes/base').filter(({ kind }) => kind === 'ValidatingAdmissionPolicy')
const flannel = 'flannel.alpha.coreos.com'
const agent = { username: 'system:serviceaccount:kube-flannel:twill', extra: tokenOf('n1') }
const kubelet = { username: 'system:node:n1' }

function tokenOf(node: string): Record<string, string[]> {
  return { 'authentication.kubernetes.io/node-name': [node] }
}

/** More of a Node than anything here knows of. */
interface Node extends RawNode {
  metadata: RawNode['metadata'] & Record<string, unknown>
  spec: RawNode['spec'] & Record<string, unknown>
}

function node(): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: 'n1',
      uid: 'u',
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { zone: 'a' },
      annotations: { 'node.alpha.kubernetes.io/ttl': '0', [`${flannel}/public-ip`]: '192.168.0.1' },
      managedFields: [],
    },
    spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24', 'fd00:12:0:1::/64'], providerID: 'x' },
    status: {
      conditions: [
        { type: 'Ready', status: 'True' },
        { type: 'NetworkUnavailable', status: 'True' },
      ],
      addresses: [{ type: 'InternalIP', address: '192.168.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
      nodeInfo: { kernelVersion: '6.12' },
    },
  }
}

function told(
  change: (node: Node) => void,
  userInfo: { username: string; extra?: Record<string, string[]> } = agent,
) {
  const object = node()
  change(object)
  return denials(policies, { userInfo, oldObject: node(), object }).join()
}

describe('the admission policies', () => {
  it('let an agent publish all that it has, and set its condition', () => {
    const { families, ...names } = annotationNames(flannel)
    const published = [
      names.manager,
      names.backendType,
      ...Object.values(families).flatMap(one => [one.publicIp, one.backendData]),
    ]
    expect(
      told(({ metadata, status }) => {
        for (const name of published) metadata.annotations[name] = 'new'
        metadata.annotations[names.podCidrs] = '10.244.1.0/24,fd00:12:0:1::/64'
        metadata.managedFields = [{ manager: 'twilld' }]
        metadata.resourceVersion = '2'
        status.conditions = [
          { type: 'Ready', status: 'True' },
          { type: 'NetworkUnavailable', status: 'False', reason: 'FlannelIsUp' },
        ]
      }),
    ).toBe('')
  })

  it('let it set the first annotation and the first condition of a Node', () => {
    const [oldObject, object] = [node(), node()]
    Reflect.deleteProperty(oldObject.metadata, 'annotations')
    Reflect.deleteProperty(oldObject, 'status')
    object.metadata.annotations = { [`${flannel}/public-ip`]: '192.168.0.1' }
    Reflect.set(object, 'status', { conditions: [{ type: 'NetworkUnavailable', status: 'False' }] })
    expect(denials(policies, { userInfo: agent, oldObject, object })).toEqual([])
  })

  it.each([
    ['kube-flannel', 'n1', ''],
    ['elsewhere', 'n1', ''],
    ['kube-flannel', 'n2', 'an agent may change its own Node only: its token is of node n2'],
    ['elsewhere', 'n2', 'an agent may change its own Node only: its token is of node n2'],
  ])('hold an agent in namespace %s with a token of %s to its own Node', (namespace, of, expected) => {
    const userInfo = { username: `system:serviceaccount:${namespace}:twill`, extra: tokenOf(of) }
    const publish = ({ metadata }: Node) => {
      metadata.annotations[`${flannel}/public-ip`] = '192.168.0.9'
    }
    expect(told(publish, userInfo)).toBe(expected)
  })

  it('deny an agent whose token names no node', () => {
    expect(told(() => {}, { username: agent.username })).toContain('its token is of node ')
  })

  const metadata = 'an agent may change nothing of metadata but annotations'
  const annotations = 'an agent may change these annotations only: '
  const spec = 'an agent may not change the spec'
  const status = 'an agent may change nothing of the status but the condition NetworkUnavailable'

  it.each<[string, string, (node: Node) => void]>([
    [
      'ownerReferences',
      metadata,
      node => Object.assign(node.metadata, { ownerReferences: [{ uid: 'gone' }] }),
    ],
    ['finalizers', metadata, node => Object.assign(node.metadata, { finalizers: ['example.com/never'] })],
    ['labels', metadata, node => Object.assign(node.metadata, { labels: { zone: 'b' } })],
    ['no labels', metadata, node => Reflect.deleteProperty(node.metadata, 'labels')],
    ['a field of metadata that is new', metadata, node => Object.assign(node.metadata, { later: 1 })],
    [
      "another's annotation",
      annotations,
      node => Object.assign(node.metadata.annotations, { 'example.com/a': 'b' }),
    ],
    [
      "another's annotation, empty",
      annotations,
      node => Object.assign(node.metadata.annotations, { 'example.com/a': '' }),
    ],
    [
      "another's annotation gone",
      annotations,
      node => Reflect.deleteProperty(node.metadata.annotations, 'node.alpha.kubernetes.io/ttl'),
    ],
    [
      'what an operator sets',
      annotations,
      node => Object.assign(node.metadata.annotations, { [`${flannel}/public-ip-overwrite`]: '1.2.3.4' }),
    ],
    [
      'what chooses the interface',
      annotations,
      node => Object.assign(node.metadata.annotations, { [`${flannel}/node-public-ip`]: '1.2.3.4' }),
    ],
    ['the podCIDR', spec, node => Object.assign(node.spec, { podCIDR: '10.244.2.0/24' })],
    ['taints', spec, node => Object.assign(node.spec, { taints: [{ key: 'a', effect: 'NoExecute' }] })],
    ['addresses', status, node => Object.assign(node.status, { addresses: [] })],
    [
      'daemonEndpoints',
      status,
      node => Object.assign(node.status, { daemonEndpoints: { kubeletEndpoint: { Port: 1 } } }),
    ],
    ['nodeInfo', status, node => Object.assign(node.status, { nodeInfo: {} })],
    ['images', status, node => Object.assign(node.status, { images: [] })],
    ['volumesInUse', status, node => Object.assign(node.status, { volumesInUse: ['a'] })],
    [
      'another condition',
      status,
      node => Object.assign(node.status, { conditions: [{ type: 'Ready', status: 'False' }] }),
    ],
  ])('deny an agent %s', (_, expected, change) => {
    expect(told(change)).toMatch(new RegExp(`^${expected}`))
    expect(told(change, kubelet)).toBe('')
  })

  it.each([
    ['10.244.1.0/24,fd00:12:0:1::/64', true],
    ['', true],
    ['10.244.1.0/24', false],
    ['10.244.0.0/16', false],
  ])('let anybody publish %o as podCIDRs: %o', (text, admitted) => {
    const publish = ({ metadata }: Node) => {
      metadata.annotations[`${flannel}/pod-cidrs`] = text
    }
    const expected = admitted
      ? ''
      : "the annotation pod-cidrs has to be the Node's spec.podCIDRs, with commas between them"
    for (const user of [agent, kubelet]) expect(told(publish, user)).toBe(expected)
    const object = node()
    publish(object)
    expect(denials(policies, { userInfo: kubelet, oldObject: null, object }).join()).toBe(expected)
  })

  it.each([
    ['example.com', 'example.com/'],
    ['example.com/net', 'example.com/net-'],
    ['example.com/net-', 'example.com/net-'],
  ])('take the prefix %s as the agent does', (prefix, stem) => {
    const under = JSON.parse(JSON.stringify(policies).replaceAll(flannel, prefix)) as typeof policies
    const publish = (name: string, text: string) => {
      const object = node()
      object.metadata.annotations[name] = text
      return denials(under, { userInfo: agent, oldObject: node(), object })
    }
    expect(publish(`${stem}public-ip`, '192.168.0.1')).toEqual([])
    expect(publish(`${stem}pod-cidrs`, '10.9.9.0/24')).toHaveLength(1)
    expect(publish(`${flannel}/backend-type`, 'vxlan')).toHaveLength(1)
  })

  it('let a kubelet continue where a wrong annotation stands already', () => {
    const [oldObject, object] = [node(), node()]
    for (const one of [oldObject, object]) one.metadata.annotations[`${flannel}/pod-cidrs`] = '10.9.9.0/24'
    object.status.nodeInfo = {}
    expect(denials(policies, { userInfo: kubelet, oldObject, object })).toEqual([])
  })
})
