import { BlockList, isIP } from 'node:net'
import { parseUrl } from '../../common/url_logins.ts'
import { hostOf } from '../../net/ip.ts'
import { ApiConfigError } from './kubeconfig.ts'

/** The proxy through which the API server is reached. */
export interface Proxy {
  readonly url: string
  /** For messages, without a password: `http://192.0.2.1:3128, of HTTPS_PROXY`. */
  readonly words: string
}

type Env = Readonly<Record<string, string | undefined>>

/**
 * Chooses the proxy as client-go does: the kubeconfig's `proxy-url`, else HTTPS_PROXY or HTTP_PROXY by the
 * server's scheme, unless NO_PROXY lists the server (golang.org/x/net/http/httpproxy: capitals first, never
 * for the loopback). Throws ApiConfigError.
 */
export function proxyFor(server: URL, proxyUrl: unknown, env: Env): Proxy | undefined {
  if (typeof proxyUrl === 'string') return parseProxy(proxyUrl, 'the kubeconfig (proxy-url)')
  const name = server.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY'
  const used = env[name] ? name : name.toLowerCase()
  const given = env[used]?.trim()
  const exempt = env.NO_PROXY || env.no_proxy || ''
  if (!given || isLoopback(withoutDot(server)) || isExempt(server, exempt)) return undefined
  return parseProxy(given, used)
}

function parseProxy(text: string, of: string): Proxy {
  const url = parseUrl(text.includes('://') ? text : `http://${text}`)
  if (url === undefined || !/^(https?|socks[45]?[ah]?):$/.test(url.protocol))
    throw new ApiConfigError(`Cannot use the proxy of ${of}: it is no URL as in http://HOST:PORT`)
  return { url: url.href, words: `${url.protocol}//${url.host}, of ${of}` }
}

/** The host; a name without the dot that may end it. */
function withoutDot(server: URL): string {
  return hostOf(server).replace(/\.$/, '')
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/**
 * Whether a NO_PROXY list has the server. Items: `*`; an address or a prefix; a name, with all names below
 * it; `.name` or `*.name`, only for the names below it. All but a prefix may have a port.
 */
function isExempt(server: URL, list: string): boolean {
  const host = withoutDot(server)
  const port = server.port || (server.protocol === 'https:' ? '443' : '80')
  return list
    .split(',')
    .map(item => item.trim().toLowerCase())
    .some(item => {
      if (item === '') return false
      if (item === '*' || isWithin(host, item)) return true
      const [, name = '', ofPort] =
        /^\[?(.+?)\]?(?::(\d+))?$/.exec(isIP(item) === 6 ? `[${item}]` : item) ?? []
      if (ofPort !== undefined && ofPort !== port) return false
      if (isIP(name) !== 0) return isWithin(host, name)
      const below = name.replace(/^\*?\.|^/, '.')
      return host.endsWith(below) || (!/^\*?\./.test(name) && host === name)
    })
}

/** Whether an address is in a prefix, or equal to another address in any spelling. */
function isWithin(host: string, prefix: string): boolean {
  const [address = '', length] = prefix.split('/')
  const family = isIP(address)
  if (family === 0 || isIP(host) !== family) return false
  const most = family === 6 ? 128 : 32
  const bits = length === undefined ? most : Number(length)
  if (!Number.isInteger(bits) || bits < 0 || bits > most || length === '') return false
  const type = family === 6 ? 'ipv6' : 'ipv4'
  const block = new BlockList()
  block.addSubnet(address, bits, type)
  return block.check(host, type)
}
