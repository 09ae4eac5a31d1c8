import { KubeConfig, loadYaml } from '@kubernetes/client-node'

/** The only file that imports the client library. */
export type ClientConfig = KubeConfig

/** Throws the library's own error, whose message quotes the text. */
export function parseYaml(text: string): unknown {
  return loadYaml(text)
}

/**
 * One cluster and one user, each in the field names of a kubeconfig. JSON is YAML: the library reads it as if
 * from a file.
 */
export function clientConfig(cluster: object, user: object): ClientConfig {
  const name = 'current'
  const config = new KubeConfig()
  config.loadFromString(
    JSON.stringify({
      'current-context': name,
      contexts: [{ name, context: { cluster: name, user: name } }],
      clusters: [{ name, cluster }],
      users: [{ name, user }],
    }),
  )
  return config
}
