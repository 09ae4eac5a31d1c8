import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadAllYaml } from '@kubernetes/client-node'

/** An object of the API, as far as tests look into it. */
export interface ApiObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly [field: string]: unknown
}

export function parseYaml(text: string): readonly ApiObject[] {
  return (loadAllYaml(text) as (ApiObject | null)[]).filter(one => one !== null)
}

/** Of all files of a folder below manifests/, without what only kustomize reads. */
export function readManifests(folder: string): readonly ApiObject[] {
  const directory = join('manifests', folder)
  return readdirSync(directory)
    .filter(name => name.endsWith('.yaml') && name !== 'kustomization.yaml')
    .flatMap(name => parseYaml(readFileSync(join(directory, name), 'utf8')))
}

export function find(objects: readonly ApiObject[], kind: string, name?: string): ApiObject {
  const found = objects.find(one => one.kind === kind && (name === undefined || one.metadata.name === name))
  if (found === undefined) throw new Error(`there is no ${kind} ${name ?? ''}`)
  return found
}

interface Probe {
  readonly httpGet: Readonly<Record<string, unknown>>
  readonly periodSeconds: number
}

/** The only container of a DaemonSet. */
export interface Container {
  readonly args: readonly string[]
  readonly env: readonly { readonly name: string; readonly value?: string }[]
  readonly startupProbe?: Probe
  readonly readinessProbe?: Probe
  readonly securityContext: { readonly capabilities: { readonly add: readonly string[] } }
  readonly volumeMounts: readonly {
    readonly name: string
    readonly mountPath: string
    readonly readOnly?: boolean
  }[]
}

export function podSpec(daemonSet: ApiObject) {
  const { spec } = daemonSet as unknown as {
    spec: {
      template: {
        spec: {
          containers: Container[]
          serviceAccountName: string
          volumes: { name: string; configMap?: { name: string } }[]
        }
      }
    }
  }
  return spec.template.spec
}

export function container(daemonSet: ApiObject): Container {
  const [only] = podSpec(daemonSet).containers
  if (only === undefined) throw new Error('there is no container')
  return only
}
