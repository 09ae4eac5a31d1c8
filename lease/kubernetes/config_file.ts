import { isDeepStrictEqual } from 'node:util'
import { messageOf } from '../common/errors.ts'
import type { Log } from '../common/log.ts'
import { readRegularFile } from '../common/read_file.ts'
import { sleep } from '../common/sleep.ts'
import { type NetworkConfig, NetworkConfigError } from '../network_config/network_config.ts'
import { parseNetworkConfig } from '../network_config/parser.ts'
import { networkConfigWarnings } from '../network_config/warnings.ts'
import type { ConfigDemands } from '../store.ts'

/** As large as a ConfigMap can be. */
const MOST_BYTES = 2 ** 20

/**
 * net-conf.json of the ConfigMap. Read at start and followed: the kubelet writes a changed one within
 * minutes.
 */
export class ConfigFile {
  readonly #file: string
  readonly #log: Log
  #running: NetworkConfig | undefined
  /** What an operator must do after a change of the file; undefined: nothing. */
  notice: string | undefined

  constructor(file: string, log: Log) {
    this.#file = file
    this.#log = log
  }

  /** The config that this node runs with; undefined before it was read. */
  get running(): NetworkConfig | undefined {
    return this.#running
  }

  /** Rejects with NetworkConfigError. */
  async read(signal: AbortSignal, { accept }: ConfigDemands): Promise<NetworkConfig> {
    try {
      const text = await readRegularFile(this.#file, MOST_BYTES)
      const network = parse(text)
      accept?.(network)
      for (const warning of networkConfigWarnings(text)) this.#log.warn({ file: this.#file }, warning)
      this.#running = network
      return network
    } catch (cause) {
      signal.throwIfAborted()
      const remedy =
        cause instanceof NetworkConfigError
          ? ''
          : '; mount the ConfigMap with net-conf.json there, or set --net-config-path (kubectl -n kube-flannel get configmap kube-flannel-cfg -o yaml shows it)'
      throw new NetworkConfigError(
        `Cannot use the network config ${this.#file}: ${messageOf(cause)}${remedy}`,
        { cause },
      )
    }
  }

  /** Reads the file every `everyMs`, and reports each change once. Rejects with the signal's reason. */
  async follow(everyMs: number, signal: AbortSignal): Promise<never> {
    for (;;) {
      await sleep(everyMs, signal)
      const notice = await this.#compare(signal)
      if (notice !== this.notice) {
        if (notice === undefined)
          this.#log.info({ file: this.#file }, `${this.#file} is again what this node runs with`)
        else this.#log.warn({ file: this.#file }, notice)
      }
      this.notice = notice
    }
  }

  async #compare(signal: AbortSignal): Promise<string | undefined> {
    const keepsOld = 'this node keeps the one that it has'
    try {
      const now = parse(await readRegularFile(this.#file, MOST_BYTES))
      if (isDeepStrictEqual(now, this.#running)) return undefined
      return `The network config ${this.#file} has changed: ${keepsOld}; restart the agents to apply it, as with: kubectl -n kube-flannel rollout restart daemonset twill`
    } catch (cause) {
      signal.throwIfAborted()
      return `The network config ${this.#file} was changed and cannot be used: ${messageOf(cause)}; ${keepsOld}, and could not start with this`
    }
  }
}

function parse(text: string): NetworkConfig {
  return parseNetworkConfig(text, { subnets: 'assigned' })
}
