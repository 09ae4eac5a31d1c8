import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from './exec.ts'
import type { Host } from './host.ts'
import { EndedError, type Exit, type Process } from './process.ts'
import { repeatedPhrase } from './repeated_phrase.ts'
import { until } from './until.ts'

export interface AgentOptions {
  /** URLs of etcd. */
  readonly endpoints: readonly string[]
  /** More flags of twilld; they override those set here. */
  readonly flags?: readonly string[]
  /** `--iface`; '' lets the agent choose. */
  readonly iface?: string
  readonly env?: Readonly<Record<string, string>>
  /** Flags of node itself: `--import=...`. */
  readonly nodeFlags?: readonly string[]
  /** A program put in front of node, which confines it and becomes it by exec. */
  readonly wrapper?: Command
}

export interface LogLine {
  readonly msg: string
  readonly [field: string]: unknown
}

/**
 * The port of /healthz, /readyz and /metrics: each host has its own network, so all agents use the same one.
 */
export const healthPort = 8081

/** A twilld process on a host. */
export class Agent {
  readonly process: Process
  readonly #host: Host
  /** Number of log lines already checked. */
  #checked = 0

  constructor(
    host: Host,
    name: string,
    { endpoints, flags = [], iface = 'eth0', env = {}, nodeFlags = [], wrapper = [] }: AgentOptions,
  ) {
    this.#host = host
    const own = [
      `--etcd-endpoints=${endpoints.join(',')}`,
      `--subnet-file=${host.subnetFile}`,
      `--cache-file=${join(host.directory, 'leases.json')}`,
      `--healthz-port=${healthPort}`,
      `--local-socket=${host.localSocket}`,
      ...(iface === '' ? [] : [`--iface=${iface}`]),
    ]
    const node = [...wrapper, process.execPath, '--throw-deprecation', ...nodeFlags]
    this.process = host.spawn([...node, './dist/twilld.js', ...own, ...flags], { name, env })
  }

  /**
   * Waits until the overlay is up: the subnet file is written and /readyz answers 200. Rejects where the
   * process ends before.
   */
  async ready(withinMs = 60_000): Promise<void> {
    const condition = async () => {
      if (this.process.exit !== undefined) throw new EndedError(this.process)
      return (
        existsSync(this.#host.subnetFile) && (await this.#host.httpGet(healthPort, '/readyz'))?.status === 200
      )
    }
    const otherwise = () => `it said:\n${this.process.text().slice(-4000)}`
    await until(`twilld on ${this.#host.name} to be ready`, condition, { withinMs, everyMs: 25, otherwise })
  }

  /**
   * The agent's log, one record a line. A line that is not JSON (a stack trace) is `{ msg }`. Throws where a
   * line repeats a phrase.
   */
  log(): LogLine[] {
    const texts = this.process.text().trim().split('\n')
    const lines = texts.map((text): LogLine => (text.startsWith('{') ? JSON.parse(text) : { msg: text }))
    for (const line of lines.slice(this.#checked)) sayOnce(line)
    // The last line may be incomplete.
    this.#checked = lines.length - 1
    return lines
  }

  /** Waits for a line of the log whose message matches. */
  async logs(message: RegExp, withinMs = 40_000): Promise<LogLine> {
    const found = () => this.log().find(line => message.test(line.msg))
    const otherwise = () => `it said:\n${this.process.text().slice(-4000)}`
    return await until(`twilld on ${this.#host.name} to log ${message}`, found, { withinMs, otherwise })
  }

  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    return this.process.stop(signal)
  }

  kill9(): Promise<Exit> {
    return this.process.kill9()
  }
}

/** Throws where a line repeats a phrase. Fields that quote lists, operations or settings may repeat them. */
function sayOnce({ operation, settings, ...line }: LogLine): void {
  const said = JSON.stringify(Object.entries(line).filter(([, value]) => !Array.isArray(value)))
  const doubled = repeatedPhrase(said)
  if (doubled !== undefined) throw new Error(`'${doubled}' is said twice in ${said}`)
}
