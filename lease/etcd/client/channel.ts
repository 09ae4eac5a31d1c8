/**
 * The only file that uses the grpc-js library: its channels. It opens TLS itself, because the library would
 * send an endpoint's IP address as server name, which TLS forbids (RFC 6066, section 3): Node.js 26 refuses
 * it, earlier releases warn (DEP0123).
 */
import { isIP, type Socket } from 'node:net'
import { connect, createSecureContext, type SecureContext } from 'node:tls'
import {
  CallCredentials,
  Channel,
  ChannelCredentials,
  type ChannelInterface,
  type ChannelOptions,
  logVerbosity,
  setLogVerbosity,
} from '@grpc/grpc-js'
import { hostOf } from '../../net/ip.ts'
import type { Credentials } from './credentials.ts'

// grpc-js writes raw lines to stderr about failures that are logged here as well.
if (process.env.GRPC_VERBOSITY === undefined) setLogVerbosity(logVerbosity.NONE)

/** The library's clients call it to get their channel. */
export type ChannelFactory = (
  address: string,
  insecure: ChannelCredentials,
  options: ChannelOptions,
) => ChannelInterface

export function channelFactory(endpoint: string, credentials: Credentials): ChannelFactory {
  if (!endpoint.startsWith('https:'))
    return (address, insecure, options) => new Channel(address, insecure, options)
  const tls = new TlsCredentials(hostOf(endpoint), credentials)
  return (address, _insecure, options) => new Channel(address, tls, options)
}

/**
 * Directly, unless the options name a proxy for every endpoint. The host's proxy variables, for downloads, do
 * not count, but the library reads proxies from variables only.
 */
export function proxyOptions(proxy: string | undefined): ChannelOptions {
  if (proxy === undefined) return { 'grpc.enable_http_proxy': 0 }
  process.env.grpc_proxy = proxy
  process.env.no_grpc_proxy = 'none.invalid'
  return { 'grpc.enable_http_proxy': 1 }
}

/** The server's certificate must bear the endpoint's name, or its IP address as subjectAltName. */
class TlsCredentials extends ChannelCredentials {
  readonly #host: string
  readonly #secureContext: SecureContext

  constructor(host: string, { rootCertificate, certChain, privateKey }: Credentials) {
    super()
    this.#host = host
    this.#secureContext = createSecureContext({ ca: rootCertificate, cert: certChain, key: privateKey })
  }

  override compose(): ChannelCredentials {
    throw new Error('These credentials are for channels whose calls carry their token themselves')
  }

  override _isSecure(): boolean {
    return true
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other
  }

  override _createSecureConnector() {
    return {
      connect: async (socket: Socket) => ({ socket: await this.#handshake(socket), secure: true }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => CallCredentials.createEmpty(),
      destroy: () => {},
    }
  }

  #handshake(socket: Socket): Promise<Socket> {
    const options = {
      socket,
      secureContext: this.#secureContext,
      // Without a server name, Node.js checks that the certificate bears `host`.
      host: this.#host,
      servername: isIP(this.#host) === 0 ? this.#host : '',
      ALPNProtocols: ['h2'],
    }
    return new Promise((resolve, reject) => {
      const encrypted = connect(options, () => resolve(encrypted))
      encrypted.on('error', reject)
    })
  }
}
