import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parseCommandLine } from '../../agent/config/config.ts'
import { parseNetworkConfig } from '../../lease/network_config/parser.ts'
import { problemsOf } from '../support/kubernetes_schema.ts'
import { container, find, parseYaml, podSpec, readManifests } from './yaml.ts'

const base = readManifests('kubernetes/base')
const daemonSet = find(base, 'DaemonSet')

describe('the manifests', () => {
  it("keep to Kubernetes' schemas", () => {
    expect(base.map(({ kind }) => kind)).toContain('ValidatingAdmissionPolicy')
    expect(base.flatMap(problemsOf)).toEqual([])
  })

  it('would not pass with a field that there is not, or with one missing', () => {
    const { selector, ...spec } = daemonSet.spec as Record<string, unknown>
    expect(selector).toBeDefined()
    const wrong = { ...daemonSet, spec: { ...spec, replicas: 3, minReadySeconds: 'five' } }
    expect(problemsOf(wrong)).toEqual([
      'DaemonSet.spec.selector is missing',
      'DaemonSet.spec.minReadySeconds is "five": number is needed',
      'DaemonSet.spec has no field replicas',
    ])
  })

  it('start the agent with flags that it knows and that all do something', async () => {
    const { args, env } = container(daemonSet)
    const command = await parseCommandLine(args, Object.fromEntries(env.map(({ name }) => [name, 'n1'])))
    if (command.asks !== 'run') throw new Error(command.asks)
    const { store, healthz, cniConfigFile, firewall, warnings } = command.config
    expect(warnings).toEqual([])
    expect(store).toMatchObject({ kind: 'kubernetes', nodeName: 'n1', podName: undefined })
    expect([healthz?.ip, healthz?.port, firewall.ipMasq, cniConfigFile]).toEqual([
      '127.0.0.1',
      8081,
      true,
      '/etc/cni/net.d/10-flannel.conflist',
    ])
  })

  it('give the agent every directory that it writes to, and its config', async () => {
    const { args, volumeMounts } = container(daemonSet)
    const command = await parseCommandLine(args, { NODE_NAME: 'n1' })
    if (command.asks !== 'run') throw new Error(command.asks)
    const { store, subnetFile, cniConfigFile } = command.config
    const writable = volumeMounts.filter(({ readOnly }) => !readOnly).map(({ mountPath }) => mountPath)
    for (const file of [subnetFile, cniConfigFile, store.cacheFile])
      expect(writable.some(directory => file?.startsWith(`${directory}/`))).toBe(true)
    const volumes = podSpec(daemonSet).volumes.map(({ name }) => name)
    expect(volumeMounts.map(({ name }) => name)).toEqual(volumes)
    expect(volumeMounts.map(({ mountPath }) => mountPath)).toContain('/etc/kube-flannel')
    const config = find(
      base,
      'ConfigMap',
      podSpec(daemonSet).volumes.find(one => one.configMap)?.configMap?.name,
    )
    const { data } = config as unknown as { data: Record<string, string> }
    const network = parseNetworkConfig(data['net-conf.json'] ?? '', { subnets: 'assigned' })
    expect(network.families.map(family => family.network)).toEqual(['10.244.0.0/16'])
  })

  it('ask an agent each second until it is ready for the first time, so that a rollout waits for no longer period', () => {
    const { startupProbe, readinessProbe } = container(daemonSet)
    expect(startupProbe).toMatchObject({ httpGet: { path: '/readyz' }, periodSeconds: 1 })
    expect(startupProbe?.httpGet).toEqual(readinessProbe?.httpGet)
    expect(daemonSet.spec).toMatchObject({ minReadySeconds: 5 })
  })

  it('are taken back by the command of the migration guide, all but the namespace', () => {
    const [kustomization] = parseYaml(
      readFileSync('manifests/kubernetes/base/kustomization.yaml', 'utf8'),
    ) as unknown as [{ resources: string[] }]
    const guide = readFileSync('manifests/MIGRATION.md', 'utf8')
    const files = /kubectl delete((?: -f \S+)+)/.exec(guide)?.[1]?.trim().replace(/^-f /, '').split(' -f ')
    expect([...(files ?? []), 'namespace.yaml'].sort()).toEqual(kustomization.resources.toSorted())
  })

  it('grant what the agent asks for, and nothing else', () => {
    const rules = ['ClusterRole', 'Role'].map(
      kind => (find(base, kind) as unknown as { rules: unknown }).rules,
    )
    expect(rules).toEqual([
      [
        { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'watch'] },
        { apiGroups: [''], resources: ['nodes/status'], verbs: ['patch'] },
      ],
      [{ apiGroups: [''], resources: ['events'], verbs: ['create'] }],
    ])
    const account = podSpec(daemonSet).serviceAccountName
    for (const kind of ['ClusterRoleBinding', 'RoleBinding'])
      expect((find(base, kind) as unknown as { subjects: unknown }).subjects).toEqual([
        { kind: 'ServiceAccount', name: account, namespace: 'kube-flannel' },
      ])
  })
})
