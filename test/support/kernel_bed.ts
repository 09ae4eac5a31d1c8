import { execFileSync } from 'node:child_process'
import { NetlinkKernel } from '../../agent/kernel/netlink_kernel.ts'

/** The network namespace that a kernel test is in (see own_netns.ts), with what every test starts from. */
export class OwnBed {
  readonly kernel: NetlinkKernel

  /**
   * `eth0` with 192.168.0.1/24 and fd00::1/64, `eth1` with 192.168.9.1/24; their other ends, `peer0` and
   * `peer1`, are up. Their IPv6 addresses are usable at once.
   */
  static async make(): Promise<OwnBed> {
    const kernel = await NetlinkKernel.open()
    const bed = new OwnBed(kernel)
    bed.clear()
    for (const n of [0, 1]) {
      bed.ip(`link add eth${n} type veth peer name peer${n}`)
      bed.ip(`link set peer${n} up`)
      bed.ip(`link set eth${n} up`)
    }
    bed.ip('address add 192.168.0.1/24 dev eth0')
    bed.ip('-6 address add fd00::1/64 dev eth0 nodad')
    bed.ip('address add 192.168.9.1/24 dev eth1')
    return bed
  }

  constructor(kernel: NetlinkKernel) {
    this.kernel = kernel
  }

  /**
   * Runs `ip` with these words and returns its output, without blanks at the ends of lines. Throws its error
   * text.
   */
  ip(words: string): string {
    return run('ip', words.split(' '))
  }

  bridge(words: string): string {
    return run('bridge', words.split(' '))
  }

  /** Runs many `ip` commands in one process. Synchronous: this process does nothing else meanwhile. */
  batch(lines: readonly string[]): void {
    run('ip', ['-batch', '-'], `${lines.join('\n')}\n`)
  }

  close(): void {
    this.kernel.close()
    this.clear()
  }

  /** Deletes all devices except `lo`, and the routes without a device. */
  clear(): void {
    for (const line of this.ip('-o link').split('\n')) {
      const name = /^\d+: ([^:@]+)/.exec(line)?.[1]
      if (name !== undefined && name !== 'lo' && this.ip('-o link').includes(`: ${name}`))
        this.ip(`link delete ${name}`)
    }
    this.ip('route flush table main')
    this.ip('-6 route flush table main')
  }
}

function run(program: string, words: readonly string[], input?: string): string {
  const said = execFileSync(program, words, {
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(input === undefined ? {} : { input }),
  })
  return said.replace(/ +$/gm, '').trimEnd()
}
