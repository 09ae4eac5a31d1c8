import { readFileSync } from 'node:fs'
import { Agent as HttpAgent } from 'node:http'
import { Agent, type RequestOptions } from 'node:https'
import { dirname, resolve } from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { ExpectedError, messageOf } from '../common/errors.ts'
import type { KubernetesOptions } from '../options.ts'

/** Where the API server is and how one proves to it who one is. The only file that knows the client library. */
export interface ApiConfig {
  /** `https://10.96.0.1:443`, without a slash at the end. */
  readonly url: string
  /** TLS material, agent and authorization for one request, files and exec plugins read anew where they changed. */
  requestOptions(): Promise<RequestOptions>
  /** After a 401: forgets tokens and certificates, so that the next request reads all files again. */
  forget(): void
  close(): void
}

/** Kubernetes access that cannot be configured so. The message names the file or variable and the remedy. */
export class ApiConfigError extends ExpectedError {
  override name = 'ApiConfigError'
}

type Where = Pick<KubernetesOptions, 'apiUrl' | 'kubeconfigFile'>

/** Throws ApiConfigError. */
export function openApiConfig(where: Where): ApiConfig {
  let config = loadConfig(where)
  const agents = new AgentCache()
  return {
    url: serverOf(config),
    async requestOptions() {
      const options: RequestOptions = { headers: {} }
      await config.applyToHTTPSOptions(options)
      trimAuthorization(options)
      const cluster = config.getCurrentCluster()
      if (!cluster?.proxyUrl)
        options.agent = agents.get(options, cluster?.server.startsWith('http:') ?? false)
      return options
    },
    forget() {
      try {
        config = loadConfig(where)
      } catch {
        // Half-written: what was read before stays, and the next 401 brings us here again.
      }
    },
    close: () => agents.close(),
  }
}

/** client-go's order: a URL overrides the kubeconfig's server; with neither, the pod's service account. */
function loadConfig({ apiUrl, kubeconfigFile }: Where): KubeConfig {
  const config = new KubeConfig()
  if (kubeconfigFile !== undefined) loadFile(config, kubeconfigFile)
  else if (apiUrl !== undefined)
    config.loadFromClusterAndUser(
      { name: 'url', server: apiUrl, skipTLSVerify: false },
      { name: 'anonymous' },
    )
  else loadInCluster(config)
  const cluster = config.getCurrentCluster()
  if (cluster === null)
    throw new ApiConfigError(
      `Cannot use kubeconfig ${kubeconfigFile}: its current-context '${config.currentContext}' names no cluster; set current-context`,
    )
  const server = (apiUrl ?? cluster.server).replace(/\/+$/, '')
  // The library refuses http:// without skipTLSVerify; kubectl proxy and test set-ups need it, and there is no TLS to verify.
  const patched = { ...cluster, server, skipTLSVerify: cluster.skipTLSVerify || server.startsWith('http:') }
  config.clusters = config.clusters.map(other => (other === cluster ? patched : other))
  return config
}

function loadFile(config: KubeConfig, file: string): void {
  try {
    config.loadFromFile(file)
    useTokenFile(config, readFileSync(file, 'utf8'), dirname(resolve(file)))
  } catch (cause) {
    throw new ApiConfigError(`Cannot read kubeconfig ${file}: ${messageOf(cause)}`, { cause })
  }
}

/**
 * The library drops `users[].user.tokenFile` without a word, and then asks as system:anonymous. Its own provider for
 * service account tokens reads the file every 60 s, so a rotated token is taken.
 */
function useTokenFile(config: KubeConfig, text: string, folder: string): void {
  const [match, ...more] = [...text.matchAll(/(?:^|[{,\s])"?tokenFile"?:\s*["']?([^"',}\n]+)/gm)]
  const user = config.getCurrentUser()
  if (match?.[1] === undefined || more.length > 0 || user === null || user.token) return
  const provider = { name: 'tokenFile', config: { tokenFile: resolve(folder, match[1].trim()) } }
  config.users = config.users.map(other => (other === user ? { ...user, authProvider: provider } : other))
}

function loadInCluster(config: KubeConfig): void {
  for (const name of ['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT']) {
    if (!process.env[name])
      throw new ApiConfigError(
        `Cannot find the Kubernetes API: ${name} is not set, so this is no pod; give --kubeconfig-file or --kube-api-url`,
      )
  }
  config.loadFromCluster()
}

function serverOf(config: KubeConfig): string {
  return config.getCurrentCluster()?.server ?? ''
}

/** A token file may end with a newline, which no HTTP header may hold. */
function trimAuthorization({ headers }: RequestOptions): void {
  if (headers === undefined || Array.isArray(headers)) return
  const header = (headers as Record<string, unknown>).Authorization
  if (typeof header === 'string') (headers as Record<string, string>).Authorization = header.trim()
}

/** One agent as long as the TLS material is the same: the library makes one, and a handshake, for every call. */
class AgentCache {
  #agent: HttpAgent | undefined
  #identity = ''

  get(options: RequestOptions, plain: boolean): HttpAgent {
    const { ca, cert, key, servername, rejectUnauthorized } = options
    const tls = Object.entries({ ca, cert, key, servername, rejectUnauthorized })
    const identity = tls.map(String).join('\n')
    if (this.#agent === undefined || identity !== this.#identity) {
      this.#letIdleGo()
      const pool = { keepAlive: true, maxFreeSockets: 2 }
      const given = Object.fromEntries(tls.filter(([, value]) => value !== undefined))
      this.#agent = plain ? new HttpAgent(pool) : new Agent({ ...pool, ...given })
      this.#identity = identity
    }
    return this.#agent
  }

  close(): void {
    this.#agent?.destroy()
    this.#agent = undefined
  }

  /** What runs on the old agent ends by itself: a watch within minutes, all else within seconds. */
  #letIdleGo(): void {
    for (const socket of Object.values(this.#agent?.freeSockets ?? {}).flat()) socket?.destroy()
  }
}
