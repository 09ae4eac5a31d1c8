import { Agent as HttpAgent } from 'node:http'
import { Agent, type RequestOptions } from 'node:https'
import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import { messageOf } from '../../common/errors.ts'
import { FileError, requireRegularFile } from '../../common/read_file.ts'
import { withoutLogins } from '../../common/url_logins.ts'
import { at } from '../../json/path.ts'
import { type Access, loadAccess, type Where } from './access.ts'
import { ApiConfigError } from './kubeconfig.ts'
import { printSent } from './sent.ts'

/** Larger than any list of authorities. */
const MOST_BYTES = 4 * 2 ** 20

/** Where the API server is and how a request is authenticated. */
export interface ApiConfig {
  /** `https://10.96.0.1:443`, without a slash at the end. */
  readonly url: string
  /** The URL, and the proxy if there is one; for messages. */
  readonly place: string
  readonly isProxied: boolean
  /** What an operator should correct although it works; for the log, once. */
  readonly warnings: readonly string[]
  /**
   * TLS material, agent and authorization for one request. Files and exec plugins are read again where they
   * have changed.
   */
  requestOptions(): Promise<RequestOptions>
  /**
   * Call after a 401: forgets tokens and certificates, so that the next request reads all files again.
   * Returns which credentials were sent, in words.
   */
  forget(sent: RequestOptions): string
  close(): void
}

/** Throws ApiConfigError. */
export function openApiConfig(where: Where): ApiConfig {
  let access = loadAccess(where)
  const agents = new AgentCache()
  return {
    url: access.url,
    place: access.place,
    isProxied: access.isProxied,
    warnings: access.warnings,
    async requestOptions() {
      const options = verifiedByAddress(await credentials(access))
      options.agent = agents.get(options, access)
      return options
    },
    forget(sent) {
      const words = `${printSent(sent)}, of ${access.origin}`
      try {
        access = loadAccess(where)
      } catch {
        // The file is half-written: keeps the old credentials; the next 401 reads it again.
      }
      return words
    },
    close: () => agents.close(),
  }
}

/** Rejects with ApiConfigError, which never quotes the output of a plugin or the content of a file. */
async function credentials({ config, token, groups, origin }: Access): Promise<RequestOptions> {
  const bearer = await token.read()
  await checkFiles(config, origin)
  const options: RequestOptions = { headers: {} }
  try {
    await config.applyToHTTPSOptions(options)
  } catch (cause) {
    throw new ApiConfigError(`Cannot use the credentials of ${origin}: ${whyNot(cause, config)}`)
  }
  const plugged = at(options.headers, 'Authorization')
  const authorization = bearer === undefined ? plugged : `Bearer ${bearer}`
  options.headers = {
    ...Object(options.headers),
    // A plugin's token may end with a newline, which no HTTP header may hold.
    ...(typeof authorization === 'string' ? { Authorization: authorization.trim() } : {}),
    ...(groups.length > 0 ? { 'Impersonate-Group': [...groups] } : {}),
  }
  return options
}

/** The library reads these files synchronously: a pipe without a writer would stop the process. */
async function checkFiles(config: Access['config'], origin: string): Promise<void> {
  const user = config.getCurrentUser()
  for (const file of [config.getCurrentCluster()?.caFile, user?.certFile, user?.keyFile]) {
    if (file === undefined) continue
    await requireRegularFile(file, MOST_BYTES).catch((cause: unknown) => {
      // Any other error is the library's to report: it uses the file only where the kubeconfig lacks the
      // data.
      if (!(cause instanceof FileError)) return
      throw new ApiConfigError(`Cannot use ${file} of ${origin}: ${cause.message}`, { cause })
    })
  }
}

/**
 * A `tls-server-name` may be an IP address: as in Go, no server name is sent then, and the certificate must
 * bear the address. Node.js 26 refuses it as a server name.
 */
function verifiedByAddress(options: RequestOptions): RequestOptions {
  const { servername = '' } = options
  if (isIP(servername) === 0) return options
  return {
    ...options,
    servername: '',
    checkServerIdentity: (_, certificate) => checkServerIdentity(servername, certificate),
  }
}

function whyNot(cause: unknown, config: Access['config']): string {
  const command = at(config.getCurrentUser()?.exec, 'command')
  if (typeof command !== 'string') return at(cause, 'code') ? messageOf(cause) : 'it cannot be read'
  if (at(cause, 'code') === 'ENOENT')
    return `there is no program '${command}', which its exec entry names: install it where this agent runs, and in its PATH`
  if (cause instanceof SyntaxError || cause instanceof TypeError)
    return `what '${command}' printed is no ExecCredential`
  const reason = withoutLogins(messageOf(cause).trim(), '').slice(0, 200)
  return `'${command}', which its exec entry names, failed: ${reason || 'it printed no reason'}`
}

/** Two connections carry watches; a burst of joins shares the others. */
const mostConnections = 10

/**
 * Keeps one HTTP agent while the TLS material is unchanged: the library makes a new one, with a handshake,
 * for every call.
 */
class AgentCache {
  #agent: HttpAgent | undefined
  #identity = ''

  get(options: RequestOptions, { url, isProxied, config }: Access): HttpAgent {
    const { ca, cert, key, servername, checkServerIdentity, rejectUnauthorized } = options
    const tls = Object.entries({ ca, cert, key, servername, checkServerIdentity, rejectUnauthorized })
    const identity = [...tls.map(String), config.getCurrentCluster()?.tlsServerName].join('\n')
    if (this.#agent === undefined || identity !== this.#identity) {
      this.#letIdleGo()
      const pool = { keepAlive: true, maxFreeSockets: 2, maxSockets: mostConnections }
      const given = Object.fromEntries(tls.filter(([, value]) => value !== undefined))
      const made = options.agent
      if (isProxied && typeof made === 'object') this.#agent = Object.assign(made, pool)
      else this.#agent = url.startsWith('http:') ? new HttpAgent(pool) : new Agent({ ...pool, ...given })
      this.#identity = identity
    }
    return this.#agent
  }

  close(): void {
    this.#agent?.destroy()
    this.#agent = undefined
  }

  /** Requests on the old agent end by themselves: watches within minutes, all others within seconds. */
  #letIdleGo(): void {
    for (const socket of Object.values(this.#agent?.freeSockets ?? {}).flat()) socket?.destroy()
  }
}
