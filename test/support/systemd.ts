import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { whyNoBed } from './bed.ts'
import { makeCgroup, removeCgroup } from './cgroup.ts'
import { attempt, type Command, type Output, type RunOptions, runSync } from './exec.ts'
import type { Host } from './host.ts'
import type { Process } from './process.ts'
import { until } from './until.ts'

/** The folder of the built agent and its CLI on a booted host. */
export const LIB = '/usr/local/lib/twill'

/**
 * A host of a bed, booted with Debian's systemd as process 1, in process, mount and cgroup namespaces of its
 * own. Changes to files stay on this host. It ends with the bed.
 */
export class BootedHost {
  readonly host: Host
  readonly #init: Process
  readonly #cgroup: string

  private constructor(host: Host, init: Process, cgroup: string) {
    this.host = host
    this.#init = init
    this.#cgroup = cgroup
  }

  static async boot(host: Host): Promise<BootedHost> {
    const cgroup = makeCgroup(cgroup2() ?? '', `systemd-${host.name}`)
    const own = ['--pid', '--mount', '--cgroup', '--uts', '--ipc', '--fork', '--kill-child']
    const script = `echo $$ >'${cgroup}/cgroup.procs' && exec unshare ${own.join(' ')} test/support/systemd.sh '${resolve('dist')}'`
    const booted = new BootedHost(host, host.spawn(['sh', '-c', script], { name: 'systemd' }), cgroup)
    await until('systemd to be up', () => booted.#isUp(), {
      withinMs: 60_000,
      everyMs: 200,
      otherwise: () => booted.#init.text().slice(-4000),
    })
    return booted
  }

  /** Runs a command on it, as a root shell would. */
  run(command: Command, options: RunOptions = {}): Promise<Output> {
    const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    const inside = [
      'nsenter',
      `--target=${this.#pid()}`,
      '--mount',
      '--uts',
      '--ipc',
      '--net',
      '--pid',
      '--cgroup',
    ]
    return attempt([...inside, 'env', '-i', `PATH=${PATH}`, 'LC_ALL=C', ...command], {
      withinMs: 120_000,
      ...options,
    })
  }

  /** The output of a shell script, whatever its exit code. */
  async sh(script: string): Promise<string> {
    const { stdout, stderr } = await this.run(['sh', '-c', script])
    return `${stdout}${stderr}`
  }

  /** Writes a file; makes its folder too. */
  async write(path: string, content: string | Buffer): Promise<void> {
    const input = Buffer.from(content).toString('base64')
    await this.run(['sh', '-c', 'mkdir -p "$(dirname "$0")" && base64 -d >"$0"', path], { input })
  }

  /** Waits until pings to an address are answered. */
  async reaches(address: string): Promise<void> {
    let said = ''
    await until(
      `${this.host.name} to reach ${address}`,
      async () => {
        said = await this.sh(`ping -c 3 -i 0.1 -W 1 ${address}`)
        return said.includes(' 0% packet loss')
      },
      { otherwise: () => said },
    )
  }

  twill(...words: readonly string[]): Promise<Output> {
    return this.run([`${LIB}/twill.js`, ...words])
  }

  /** Ends the host and removes its cgroups, which the bed does not know. */
  async powerOff(): Promise<void> {
    await this.#init.kill9()
    await removeCgroup(this.#cgroup)
  }

  async #isUp(): Promise<boolean> {
    if (this.#init.exit !== undefined) throw new Error(`systemd ended:\n${this.#init.text().slice(-4000)}`)
    const { stdout } = await this.run(['systemctl', 'is-system-running'])
    return /^(running|degraded)/.test(stdout)
  }

  /** The pid of its process 1: the child of unshare. */
  #pid(): string {
    const { pid } = this.#init
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim() || `${pid}`
  }
}

/** Why no host can be booted here, for a test that is then skipped; undefined where one can. */
export function whyNoSystemd(): string | undefined {
  const why = whyNoBed()
  if (why !== undefined) return why
  if (!existsSync('/lib/systemd/systemd')) return 'There is no systemd to boot: apt-get install systemd'
  if (cgroup2() === undefined) return 'There is no cgroup2 here, which systemd needs'
  const { code, stderr } = runSync(['unshare', '--pid', '--mount', '--cgroup', '--fork', 'true'])
  return code === 0 ? undefined : `No machine can be booted here: ${stderr.trim()}`
}

/** The path where cgroup2 is mounted writable. */
function cgroup2(): string | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map(line => line.split(' '))
  return mounts.find(([, , type, options]) => type === 'cgroup2' && options?.startsWith('rw'))?.[1]
}
