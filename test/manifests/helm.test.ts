import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parseNetworkConfig } from '../../lease/network_config/parser.ts'
import { renderHelmSubset } from '../support/helm_subset.ts'
import { problemsOf } from '../support/kubernetes_schema.ts'
import { type ApiObject, container, find, parseYaml, podSpec, readManifests } from './yaml.ts'

const chart = 'manifests/helm/twill'
const [defaults] = parseYaml(readFileSync(`${chart}/values.yaml`, 'utf8')) as unknown as [Values]
const helm = process.env.TWILL_TEST_HELM

interface Values {
  readonly [key: string]: unknown
  readonly flannel: Readonly<Record<string, unknown>>
}

function render(values: Partial<Values> = {}, version = 'v1.36.1'): readonly ApiObject[] {
  const healthz = { ...Object(defaults.flannel.healthz), ...Object(values.flannel?.healthz) }
  const all = { ...defaults, ...values, flannel: { ...defaults.flannel, ...values.flannel, healthz } }
  const include = (file: string): string =>
    renderHelmSubset(readFileSync(`${chart}/templates/${file}`, 'utf8'), all, {
      Release: { Namespace: 'kube-flannel' },
      Capabilities: { KubeVersion: { Version: version } },
      include,
    })
  return readdirSync(`${chart}/templates`).flatMap(name => parseYaml(include(name)))
}

/** By real Helm, from the same values. */
function renderByHelm(values: Partial<Values>): readonly ApiObject[] {
  const input = JSON.stringify(values)
  const command = ['template', 'twill', chart, '--namespace=kube-flannel', '--values=-']
  return parseYaml(execFileSync(helm ?? '', command, { input, encoding: 'utf8' }))
}

/** Sets of values, and the network that they make. */
const variants: Readonly<Record<string, [values: Partial<Values>, network: string]>> = {
  'as they are': [{}, '10.244.0.0/16 over vxlan {}'],
  'in dual stack over nft': [
    { podCidrv6: 'fd00:10:244::/48', flannel: { enableNFTables: true } },
    '10.244.0.0/16 + fd00:10:244::/48 over vxlan {} with nft',
  ],
  'with IPv6 alone': [{ podCidr: '', podCidrv6: 'fd00:10:244::/48' }, 'fd00:10:244::/48 over vxlan {}'],
  'with all that VXLAN has': [
    { flannel: { backendPort: 4789, vni: 7, mtu: 1400, GBP: true, directRouting: true } },
    '10.244.0.0/16 over vxlan {"Port":4789,"VNI":7,"MTU":1400,"GBP":true,"DirectRouting":true}',
  ],
  'with host-gw, and no CNI network from twill': [
    { flannel: { backend: 'host-gw', skipCNIConfigInstallation: true } },
    '10.244.0.0/16 over host-gw {}',
  ],
  'without probes, on some nodes': [
    {
      global: { imagePullSecrets: [{ name: 'secret' }] },
      flannel: {
        healthz: { port: 0 },
        nodeSelector: { pool: 'a' },
        tolerations: [],
        args: ['--kube-subnet-mgr', '--iface=eth1'],
        capabilities: ['NET_ADMIN', 'NET_RAW'],
      },
    },
    '10.244.0.0/16 over vxlan {}',
  ],
}

function printNetwork(json: string): string {
  const { families, backend, enableNftables } = parseNetworkConfig(json, { subnets: 'assigned' })
  const networks = families.map(family => family.network).join(' + ')
  const options = JSON.stringify(backend.options)
  return `${networks} over ${backend.type} ${options}${enableNftables ? ' with nft' : ''}`
}

function template(daemonSet: ApiObject) {
  const { spec } = daemonSet as unknown as {
    spec: { template: { metadata: { annotations?: Record<string, string> } } }
  }
  return spec.template
}

function checksum(daemonSet: ApiObject): string | undefined {
  return template(daemonSet).metadata.annotations?.['checksum/config']
}

describe('the chart', () => {
  it('makes of its own values what kustomize makes of the base', () => {
    const rendered = render()
    const base = readManifests('kubernetes/base').filter(({ kind }) => kind !== 'Namespace')
    expect(rendered.map(({ kind }) => kind).toSorted()).toEqual(base.map(({ kind }) => kind).toSorted())
    for (const { kind, metadata } of base) {
      const ours = structuredClone(find(rendered, kind, metadata.name)) as ApiObject & {
        data?: Record<string, string>
      }
      const theirs = structuredClone(find(base, kind, metadata.name)) as typeof ours
      if (kind === 'ConfigMap')
        for (const one of [ours, theirs]) one.data = { json: JSON.parse(one.data?.['net-conf.json'] ?? '') }
      if (kind === 'DaemonSet') {
        Object.assign(container(ours), { image: 'twill' })
        expect(checksum(ours)).toMatch(/^[0-9a-f]{64}$/)
        Reflect.deleteProperty(template(ours).metadata, 'annotations')
      }
      expect(ours).toEqual(theirs)
    }
  })

  for (const [what, [values, network]] of Object.entries(variants)) {
    it(`keeps to Kubernetes' schemas and to the network config's with its values ${what}`, () => {
      const objects = render(values)
      expect(objects.flatMap(problemsOf)).toEqual([])
      const { data } = find(objects, 'ConfigMap') as unknown as { data: Record<string, string> }
      expect(printNetwork(data['net-conf.json'] ?? '')).toBe(network)
    })

    it.skipIf(helm === undefined)(`is rendered by Helm the same with its values ${what}`, () => {
      const order = (objects: readonly ApiObject[]) =>
        objects.toSorted((a, b) => `${a.kind}${a.metadata.name}`.localeCompare(`${b.kind}${b.metadata.name}`))
      expect(order(renderByHelm(values))).toEqual(order(render(values)))
    })
  }

  it('starts the agents again where the network config changes, and only there', () => {
    const of = (flannel: Values['flannel']) => checksum(find(render({ flannel }), 'DaemonSet'))
    expect(of({ enableNFTables: true })).not.toBe(of({}))
    expect(of({ resources: {} })).toBe(of({}))
  })

  it('has the admission policy where Kubernetes knows one and it is wanted, under the prefix', () => {
    const policies = (...of: Parameters<typeof render>) =>
      render(...of).filter(({ kind }) => kind === 'ValidatingAdmissionPolicy')
    expect(policies({}, 'v1.30.0')).toHaveLength(2)
    expect(policies({}, 'v1.29.9')).toEqual([])
    expect(policies({ admissionPolicy: false })).toEqual([])
    const other = render({ flannel: { annotationPrefix: 'example.com/net' } })
    expect(JSON.stringify(other)).not.toContain('flannel.alpha.coreos.com')
    expect(container(find(other, 'DaemonSet')).args).toContain('--kube-annotation-prefix=example.com/net')
  })

  it("names the API server's own address where it is given", () => {
    const given = render({ flannel: { kubernetesService: { host: '192.0.2.10', port: 6443 } } })
    expect(container(find(given, 'DaemonSet')).env.slice(1)).toEqual([
      { name: 'KUBERNETES_SERVICE_HOST', value: '192.0.2.10' },
      { name: 'KUBERNETES_SERVICE_PORT', value: '6443' },
    ])
  })

  it('has the kubelet ask on the loopback, unless others are to ask too', () => {
    const hosts = (ip: string) =>
      Object.values(container(find(render({ flannel: { healthz: { ip } } }), 'DaemonSet')))
        .map(one => (one as { httpGet?: { host?: string } }).httpGet)
        .filter(probe => probe !== undefined)
        .map(probe => probe.host)
    expect(hosts('127.0.0.1')).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.1'])
    expect(hosts('0.0.0.0')).toEqual([undefined, undefined, undefined])
  })

  it('passes arguments, and says of the CNI network what is wanted', () => {
    const args = (values: Partial<Values>) => container(find(render(values), 'DaemonSet')).args
    expect(args({})).toContain('--cni-conf-file=/etc/cni/net.d/10-flannel.conflist')
    expect(args(variants['with host-gw, and no CNI network from twill']?.[0] ?? {})).toEqual([
      '--ip-masq',
      '--kube-subnet-mgr',
      '--healthz-ip=127.0.0.1',
      '--healthz-port=8081',
    ])
    const other = find(render(variants['without probes, on some nodes']?.[0]), 'DaemonSet')
    expect(container(other).args.slice(0, 2)).toEqual(['--kube-subnet-mgr', '--iface=eth1'])
    expect(container(other).securityContext.capabilities.add).toEqual(['NET_ADMIN', 'NET_RAW'])
    expect(podSpec(other)).toMatchObject({
      nodeSelector: { pool: 'a' },
      imagePullSecrets: [{ name: 'secret' }],
    })
    expect(container(other)).not.toHaveProperty('livenessProbe')
  })
})
