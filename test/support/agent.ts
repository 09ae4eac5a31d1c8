import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from './host.ts'
import { EndedError, type Exit, type Process } from './process.ts'
import { until } from './until.ts'

export interface AgentOptions {
  /** etcd's. */
  readonly endpoints: readonly string[]
  /** More of twilld's flags, which win over those set here. */
  readonly flags?: readonly string[]
  /** `--iface`; '' lets the agent choose. */
  readonly iface?: string
  readonly env?: Readonly<Record<string, string>>
  /** Of node itself: `--import=...`. */
  readonly nodeFlags?: readonly string[]
}

export interface LogLine {
  readonly msg: string
  readonly [field: string]: unknown
}

/** Where an agent answers /healthz, /readyz and /metrics: each host has its own network, so all have the same port. */
export const healthPort = 8081

/** A twilld process on a host. */
export class Agent {
  readonly process: Process
  readonly #host: Host

  constructor(
    host: Host,
    name: string,
    { endpoints, flags = [], iface = 'eth0', env = {}, nodeFlags = [] }: AgentOptions,
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
    const node = [process.execPath, '--throw-deprecation', ...nodeFlags]
    this.process = host.spawn([...node, './dist/twilld.js', ...own, ...flags], { name, env })
  }

  /** Waits until the overlay is up: subnet file written, /readyz says so. Rejects where the process ends before. */
  async ready(withinMs = 30_000): Promise<void> {
    const condition = async () => {
      if (this.process.exit !== undefined) throw new EndedError(this.process)
      return (
        existsSync(this.#host.subnetFile) && (await this.#host.httpGet(healthPort, '/readyz'))?.status === 200
      )
    }
    const otherwise = () => `it said:\n${this.process.text().slice(-4000)}`
    await until(`twilld on ${this.#host.name} to be ready`, condition, { withinMs, everyMs: 25, otherwise })
  }

  /** What it has logged: one record a line. Lines that are not JSON (a stack trace) come as `{ msg }`. */
  log(): LogLine[] {
    const lines = this.process.text().trim().split('\n')
    return lines.map(line => (line.startsWith('{') ? JSON.parse(line) : { msg: line }))
  }

  /** Waits for a line of the log whose message matches. */
  async logs(message: RegExp, withinMs = 10_000): Promise<LogLine> {
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
