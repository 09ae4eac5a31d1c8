import type { Host } from './host.ts'
import type { Process } from './process.ts'
import { until } from './until.ts'

/** The notifications of a host's kernel, as `ip monitor` and `bridge monitor` print them, in one list. */
export class Monitor {
  readonly #host: Host
  readonly #processes: readonly Process[]
  #marks = 0

  private constructor(host: Host, processes: readonly Process[]) {
    this.#host = host
    this.#processes = processes
  }

  /** Starts the monitors; they record everything after it resolves. */
  static async start(host: Host): Promise<Monitor> {
    const commands = [
      ['ip', 'monitor', 'link', 'address', 'route', 'neigh', 'rule', 'netconf'],
      ['bridge', 'monitor', 'fdb'],
    ]
    const monitor = new Monitor(
      host,
      commands.map(command => host.spawn(command, { name: `${command[0]}-monitor-${Date.now()}` })),
    )
    await monitor.#mark()
    return monitor
  }

  /** All notifications up to now, without the underlay's own neighbors, which come and go by themselves. */
  async heard(): Promise<string[]> {
    await this.#mark()
    return this.#processes.flatMap(process => {
      const lines = process.text().split('\n')
      const from = lines.findLastIndex(line => /\bmark1\b/.test(line)) + 1
      return (
        lines
          .slice(from)
          .map(line => line.trim())
          .filter(
            line =>
              line !== '' && !/mark\d|02:00:00:00:99:99| dev eth0 (lladdr|INCOMPLETE|FAILED|\w+$)/.test(line),
          )
          // Leaves out marks that were deleted before the monitor looked up their name: it prints their
          // index.
          .filter(line => !/\bif\d+\b/.test(line))
          .filter(line => !/^link\/ether|^\S+ dev eth0 .*(REACHABLE|STALE|PROBE|DELAY|FAILED)/.test(line))
      )
    })
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map(process => process.stop()))
  }

  /**
   * Makes a change of both kinds that no agent reacts to. Once both monitors have printed it, they have
   * printed everything before it.
   */
  async #mark(): Promise<void> {
    this.#marks += 1
    const name = `mark${this.#marks}`
    const printed = new RegExp(`\\b${name}\\b`)
    const all = () => this.#processes.every(process => printed.test(process.text()))
    await until(`the monitors to hear ${name}`, async () => {
      await this.#host.ip([`link add ${name} type bridge`])
      await this.#host.attempt([
        'bridge',
        'fdb',
        'add',
        '02:00:00:00:99:99',
        'dev',
        name,
        'self',
        'permanent',
      ])
      await this.#host.ip([`link delete ${name}`])
      return all()
    })
  }
}
