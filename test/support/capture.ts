import type { Process } from './process.ts'
import { until } from './until.ts'

/** Packets that pass a device, as text, one element each; continuation lines are joined. */
export class Capture {
  readonly #tcpdump: Process

  constructor(tcpdump: Process) {
    this.#tcpdump = tcpdump
  }

  packets(): string[] {
    const lines = this.#tcpdump.text().split('\n')
    const packets: string[] = []
    for (const line of lines) {
      if (/^\d+\.\d+ /.test(line)) packets.push(line)
      else if (/^\s/.test(line) && packets.length > 0) packets[packets.length - 1] += ` ${line.trim()}`
    }
    return packets
  }

  /** Waits for the first packet that matches; earlier packets count too. */
  async sees(pattern: RegExp, withinMs = 40_000): Promise<string> {
    return await until(
      `a packet like ${pattern}`,
      () => this.packets().find(packet => pattern.test(packet)),
      {
        withinMs,
        otherwise: () => `there were:\n${this.packets().slice(-20).join('\n')}`,
      },
    )
  }

  /** Ends the recording and returns all packets. */
  async stop(): Promise<string[]> {
    await this.#tcpdump.stop('SIGINT')
    return this.packets()
  }
}
