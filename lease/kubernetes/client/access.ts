import { parseUrl, withoutLogin } from '../../common/url_logins.ts'
import { isRecord } from '../../json/path.ts'
import { urlHost } from '../../net/ip.ts'
import type { KubernetesOptions } from '../../options.ts'
import { BearerToken } from './bearer_token.ts'
import { type ClientConfig, clientConfig } from './client_library.ts'
import { ApiConfigError, readKubeconfig } from './kubeconfig.ts'
import { proxyFor } from './proxy.ts'

/** Where the API server is and which credentials to send; of a kubeconfig only the current context. */
export interface Access {
  /** One cluster and one user: TLS material, passwords, exec plugins; the token is apart. */
  readonly config: ClientConfig
  /** The URL as given, without a trailing slash and without a password. */
  readonly url: string
  readonly token: BearerToken
  readonly groups: readonly string[]
  /** For messages: `user 'n1' of kubeconfig /etc/twill/kubeconfig`. */
  readonly origin: string
  /** `https://10.96.0.1:443 through the proxy ...`, for messages. */
  readonly place: string
  readonly isProxied: boolean
  /** What an operator should correct although it works. */
  readonly warnings: readonly string[]
}

export type Where = Pick<KubernetesOptions, 'apiUrl' | 'kubeconfigFile'>

/**
 * client-go's order: a URL overrides the kubeconfig's server; with neither, the pod's service account. Throws
 * ApiConfigError.
 */
export function loadAccess({ apiUrl, kubeconfigFile }: Where): Access {
  if (kubeconfigFile !== undefined) return fromFile(kubeconfigFile, apiUrl)
  if (apiUrl !== undefined) {
    const origin = '--kube-api-url alone, which brings no credentials: give --kubeconfig-file beside it'
    return access({ server: apiUrl, origin })
  }
  return fromPod()
}

function fromFile(file: string, apiUrl: string | undefined): Access {
  const { server, cluster, user, userName, tokenFile, unknownKeys } = readKubeconfig(file)
  const origin =
    userName === '' ? `no user in kubeconfig ${file}` : `user '${userName}' of kubeconfig ${file}`
  const given = { server: apiUrl ?? server, origin, cluster, user, tokenFile }
  const unknown = unknownKeys.map(key => `Key '${key}' of ${origin} has no effect: no such key is known`)
  const { warnings, ...rest } = access(given)
  return { ...rest, warnings: [...unknown, ...warnings] }
}

/** The service account's folder (kubernetes.io/docs/tasks/run-application/access-api-from-pod). */
const podFolder = '/var/run/secrets/kubernetes.io/serviceaccount'

function fromPod(): Access {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env
  if (!host || !port)
    throw new ApiConfigError(
      `Cannot find the Kubernetes API: KUBERNETES_SERVICE_${host ? 'PORT' : 'HOST'} is not set, so this is no pod; give --kubeconfig-file or --kube-api-url`,
    )
  const server = `https://${urlHost(host)}:${port}`
  const cluster = { 'certificate-authority': `${podFolder}/ca.crt` }
  return access({ server, origin: "the pod's ServiceAccount", cluster, tokenFile: `${podFolder}/token` })
}

interface Given {
  readonly server: string
  readonly origin: string
  readonly cluster?: Readonly<Record<string, unknown>>
  readonly user?: Readonly<Record<string, unknown>>
  readonly tokenFile?: string | undefined
}

function access({ server, origin, cluster = {}, user = {}, tokenFile }: Given): Access {
  const { url, login } = splitLogin(server, cluster)
  const { token, ...rest } = { ...login, ...user }
  const plain = url.startsWith('http:')
  const insecure = cluster['insecure-skip-tls-verify'] === true
  const proxy = proxyFor(new URL(url), cluster['proxy-url'], process.env)
  // The library refuses http:// unless TLS verification is off. `kubectl proxy` needs http://, and has no TLS
  // to verify.
  const patched = {
    ...cluster,
    server: url,
    'insecure-skip-tls-verify': insecure || plain,
    'proxy-url': proxy?.url,
  }
  const config = clientConfig(patched, withExecInfo(rest))
  const bearer = new BearerToken(typeof token === 'string' ? token : undefined, tokenFile)
  const groups = Array.isArray(user['as-groups']) ? user['as-groups'].map(String) : []
  const warnings: string[] = []
  if (insecure)
    warnings.push(
      `Any server can pose as the API server ${url}: insecure-skip-tls-verify is set beside ${origin}; set certificate-authority instead`,
    )
  if (plain && (bearer.exists || rest.username !== undefined || rest.exec !== undefined))
    warnings.push(`Credentials of ${origin} go to ${url} unencrypted: use https`)
  const place = proxy === undefined ? url : `${url} through the proxy ${proxy.words}`
  return { config, url, place, isProxied: proxy !== undefined, token: bearer, groups, origin, warnings }
}

/** The server's URL without `user:password@`, which no log may show, and both as fields of a kubeconfig. */
function splitLogin(
  server: string,
  cluster: Readonly<Record<string, unknown>>,
): { url: string; login: Readonly<Record<string, unknown>> } {
  const secured = ['certificate-authority', 'certificate-authority-data', 'insecure-skip-tls-verify']
  // client-go's rule for a server without a scheme.
  const scheme = secured.some(key => cluster[key] !== undefined) ? 'https' : 'http'
  const text = (server.includes('://') ? server : `${scheme}://${server}`)
    .replace(/\/+$/, '')
    .replace(/^[a-z]+:/i, given => given.toLowerCase())
  const url = withoutLogin(text, '')
  const parsed = parseUrl(text)
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol))
    throw new ApiConfigError(`Cannot use '${url}' as URL of the Kubernetes API: it must be https://HOST:PORT`)
  const { username, password } = parsed
  if (username === '') return { url, login: {} }
  try {
    return { url, login: { username: decodeURIComponent(username), password: decodeURIComponent(password) } }
  } catch {
    throw new ApiConfigError(
      `Cannot use the user name and password in front of '${url}': write a percent sign in them as %25`,
    )
  }
}

/**
 * Adds the information that exec plugins get (client.authentication.k8s.io): several refuse to run without
 * it.
 */
function withExecInfo(user: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { exec } = user
  if (!isRecord(exec)) return user
  const info = { kind: 'ExecCredential', apiVersion: exec.apiVersion, spec: { interactive: false } }
  const env = Array.isArray(exec.env) ? exec.env : []
  return {
    ...user,
    exec: { ...exec, env: [...env, { name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify(info) }] },
  }
}
