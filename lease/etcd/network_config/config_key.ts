import { isDeepStrictEqual } from 'node:util'
import { shellQuote } from '../../common/shell_quote.ts'
import { sleep } from '../../common/sleep.ts'
import { type NetworkConfig, NetworkConfigError } from '../../network_config/network_config.ts'
import { parseNetworkConfig, tryParseNetworkConfig } from '../../network_config/parser.ts'
import { networkConfigWarnings } from '../../network_config/warnings.ts'
import type { EtcdOptions } from '../../options.ts'
import type { ConfigDemands } from '../../store.ts'
import { oneKey } from '../client/keys.ts'
import type { EtcdContext } from '../records/context.ts'
import { NO_LEASE } from '../records/record.ts'
import { findConfigElsewhere } from './config_elsewhere.ts'

const READING = 'read the network config'
const WATCHING = 'watch the network config'
const KEEPS_OLD = 'this node keeps the one that it started with'
const example = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'

/** `<prefix>/config`. A running node keeps the config that it started with, and reports any other. */
export class ConfigKey {
  readonly #ctx: EtcdContext
  readonly #options: EtcdOptions
  /** The config that this node started with. */
  #running: { readonly text: string; readonly network: NetworkConfig } | undefined
  /** What an operator must do about the key; undefined: nothing. */
  notice: string | undefined

  constructor(ctx: EtcdContext, options: EtcdOptions) {
    this.#ctx = ctx
    this.#options = options
  }

  get running(): NetworkConfig | undefined {
    return this.#running?.network
  }

  /** Waits; while etcd is away, the last config seen counts. Rejects only where `onInvalid` asks for it. */
  async wait(signal: AbortSignal, demands: ConfigDemands): Promise<NetworkConfig> {
    const { retrier, client, lastSeen, tuning } = this.#ctx
    const read = () => this.#read(signal)
    for (let attempt = 0; ; attempt++) {
      const soon = attempt === 0 ? await this.#readSoon(signal) : undefined
      const text = soon ?? (await retrier.untilOr(READING, read, () => this.#cached(), signal))
      const lost = client.wasReset ? lastSeen.networkConfig : undefined
      if (text === missing && this.notice === undefined) await this.#sayMissing(lost, signal)
      const candidate = text === missing ? lost : text
      const network = candidate === undefined ? undefined : this.#parse(candidate, demands)
      if (candidate !== undefined && network !== undefined) {
        if (text !== missing) this.notice = undefined
        return this.#start(candidate, network)
      }
      // As often as flanneld: an operator may be waiting.
      await sleep(Math.min(tuning.lastRetryMs, 1_000 * (attempt + 1)), signal)
    }
  }

  /** Reports changes of the key while the node runs. Rejects with the signal's reason. */
  async follow(signal: AbortSignal): Promise<never> {
    const { client, retrier, configKey } = this.#ctx
    const watch = async () => {
      for await (const { through } of client.watch(oneKey(configKey), 0, signal)) {
        if (through === 0) retrier.over(WATCHING)
        if (this.#running !== undefined) this.#compare(await this.#read(signal))
      }
    }
    return await retrier.forever(WATCHING, watch, signal)
  }

  #start(text: string, network: NetworkConfig): NetworkConfig {
    const { lastSeen, log, configKey } = this.#ctx
    if (text !== lastSeen.networkConfig) lastSeen.sawNetworkConfig(text)
    this.#running = { text, network }
    for (const warning of networkConfigWarnings(text)) log.warn({ key: configKey }, warning)
    return network
  }

  #parse(text: string, { accept, onInvalid = 'wait' }: ConfigDemands): NetworkConfig | undefined {
    try {
      const network = parseNetworkConfig(text)
      accept?.(network)
      return network
    } catch (error) {
      if (!(error instanceof NetworkConfigError) || onInvalid === 'reject') throw error
      const command = putCommand(this.#ctx, this.#options)
      this.#say(
        `The network config in etcd under ${this.#ctx.configKey} cannot be used: ${error.message}; waiting until it is ` +
          `mended, as with: ${command}`,
      )
      return undefined
    }
  }

  #compare(text: string | typeof missing): void {
    const { configKey, log } = this.#ctx
    const { text: before, network } = this.#running ?? {}
    const now = text === missing ? missing : tryParseNetworkConfig(text)
    if (text === before || isDeepStrictEqual(now, network)) {
      if (this.notice !== undefined)
        log.info({ key: configKey }, 'The network config in etcd is again the one that this node runs with')
      this.notice = undefined
      return
    }
    const key = `The network config in etcd under ${configKey}`
    if (now === missing) this.#say(this.#goneNotice())
    else if (now instanceof Error) this.#say(`${key} was changed and cannot be used: ${now}; ${KEEPS_OLD}`)
    else this.#say(`${key} has changed: ${KEEPS_OLD}; restart the agent to apply the new one`)
  }

  /** Logs and keeps the notice, once for each text. */
  #say(notice: string): void {
    if (this.notice !== notice) this.#ctx.log.error({ key: this.#ctx.configKey }, notice)
    this.notice = notice
  }

  async #sayMissing(lost: string | undefined, signal: AbortSignal): Promise<void> {
    const { log, configKey } = this.#ctx
    const next = lost === undefined ? 'waiting for it' : 'continuing with the one that it had'
    const elsewhere =
      lost === undefined ? await findConfigElsewhere(this.#ctx, this.#options, signal) : undefined
    const hint = elsewhere === undefined ? '' : `; there is one ${elsewhere}`
    this.notice =
      lost === undefined ? `etcd has no network config under ${configKey}${hint}` : this.#goneNotice()
    log.warn(
      { key: configKey },
      `etcd has no network config, ${next}: ${putCommand(this.#ctx, this.#options)}${hint}`,
    )
  }

  /** After `cacheAfterMs` without an answer the cached config; undefined without one, or after an error. */
  async #readSoon(signal: AbortSignal): Promise<string | typeof missing | undefined> {
    const { lastSeen, tuning } = this.#ctx
    if (lastSeen.networkConfig === undefined || lastSeen.savedAtMs === undefined) return undefined
    const answered = new AbortController()
    const read = this.#read(signal).catch(() => undefined)
    const late = sleep(tuning.cacheAfterMs, AbortSignal.any([signal, answered.signal])).then(
      (): typeof noAnswer => noAnswer,
    )
    try {
      const found = await Promise.race([read, late])
      return found === noAnswer ? this.#cached() : found
    } finally {
      answered.abort()
    }
  }

  #goneNotice(): string {
    return `etcd has no network config under ${this.#ctx.configKey} any more: ${KEEPS_OLD}; put it back before a restart`
  }

  async #read(signal: AbortSignal): Promise<string | typeof missing> {
    const listing = await this.#ctx.client.range(oneKey(this.#ctx.configKey), signal)
    this.#ctx.lastSeen.unconfirmedConfig = undefined
    return listing.kvs[0]?.value ?? missing
  }

  #cached(): string | undefined {
    const { lastSeen, log } = this.#ctx
    const { networkConfig: text, savedAtMs } = lastSeen
    if (text === undefined || savedAtMs === undefined) return undefined
    lastSeen.unconfirmedConfig = text
    const at = new Date(savedAtMs).toISOString()
    log.info(
      { savedAt: at },
      `etcd has not answered yet: starting with the network config and leases of ${at}`,
    )
    return text
  }
}

export async function offerNetworkConfig(
  ctx: EtcdContext,
  text: string,
  signal: AbortSignal,
): Promise<boolean> {
  parseNetworkConfig(text)
  const transaction = {
    conditions: [{ absent: oneKey(ctx.configKey) }],
    changes: [{ put: ctx.configKey, value: text, leaseId: NO_LEASE }],
  }
  const commit = () => ctx.client.commit(transaction, signal)
  return (await ctx.retrier.until('store a network config', commit, signal)).held
}

const missing = Symbol('no network config')
const noAnswer = Symbol('etcd has not answered yet')

/** A command for a shell on this host. etcdctl asks for the password; the command does not contain it. */
function putCommand(ctx: EtcdContext, options: EtcdOptions): string {
  const flags: string[] = [`--endpoints=${[...ctx.client.endpoints].sort().join(',')}`]
  if (options.caFile !== undefined) flags.push(`--cacert=${options.caFile}`)
  if (options.certFile !== undefined) flags.push(`--cert=${options.certFile}`)
  if (options.keyFile !== undefined) flags.push(`--key=${options.keyFile}`)
  if (options.username !== undefined) flags.push(`--user=${options.username}`)
  const words = ['etcdctl', ...flags, 'put', ctx.configKey, ctx.lastSeen.networkConfig ?? example]
  return `ETCDCTL_API=3 ${shellQuote(...words)}`
}
