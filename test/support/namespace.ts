import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Family, familyOf, type Ip } from '../../lease/net/ip.ts'
import { Capture } from './capture.ts'
import { attempt, type Command, type Output, type RunOptions, run } from './exec.ts'
import { commandLine, Process } from './process.ts'

/** The part of a bed that a namespace needs. */
export interface Ground {
  /** Unique on this machine; all names start with it. */
  readonly id: string
  readonly directory: string
  readonly processes: Set<Process>
}

/** A network namespace with a name: a place to run commands in. */
export class Namespace {
  /** The name within the bed: `h1`. */
  readonly name: string
  /** As `ip netns` lists it: `twill-4711-h1`. */
  readonly netns: string
  /** For files of processes in this namespace. */
  readonly directory: string
  /** Its addresses, one for each family, IPv4 first. */
  readonly addresses: readonly Ip[]
  readonly #ground: Ground
  #spawned = 0

  constructor(ground: Ground, name: string, addresses: readonly Ip[] = []) {
    this.name = name
    this.netns = `${ground.id}-${name}`
    this.directory = join(ground.directory, name)
    this.addresses = addresses
    this.#ground = ground
    mkdirSync(this.directory, { recursive: true })
  }

  /** Its address of the family. Throws where it has none. */
  address(family: Family = 'ipv4'): Ip {
    const address = this.addresses.find(ip => familyOf(ip) === family)
    if (address === undefined) throw new Error(`${this.name} has no ${family} address`)
    return address
  }

  /**
   * Puts a command in front that runs it in this namespace. Not `ip netns exec`, which mounts another /sys
   * and so hides the cgroups.
   */
  inside(command: Command): Command {
    return ['nsenter', `--net=/run/netns/${this.netns}`, ...command]
  }

  /** Runs the command in here; resolves to its stdout. Throws CommandError. */
  exec(command: Command, options?: RunOptions): Promise<string> {
    return run(this.inside(command), options)
  }

  /** Runs a command in here that may fail. */
  attempt(command: Command, options?: RunOptions): Promise<Output> {
    return attempt(this.inside(command), options)
  }

  /** Runs several `ip` commands in one process; the first failure ends it. */
  async ip(lines: readonly string[]): Promise<void> {
    await run(['ip', '-netns', this.netns, '-batch', '-'], { input: `${lines.join('\n')}\n` })
  }

  /** As `ip`, for `bridge`. */
  async bridge(lines: readonly string[]): Promise<void> {
    await run(['bridge', '-netns', this.netns, '-batch', '-'], { input: `${lines.join('\n')}\n` })
  }

  /** Writes settings; keys are paths below /proc/sys/net: `ipv4/ip_forward`. */
  async sysctl(settings: Readonly<Record<string, number>>): Promise<void> {
    const lines = Object.entries(settings).map(([key, value]) => `echo ${value} >/proc/sys/net/${key}`)
    await this.exec(['sh', '-eu'], { input: lines.join('\n') })
  }

  /** Runs a shell script in here, then `check`, and undoes the script whatever happens. */
  async during<T>(act: string, undo: string, check: () => Promise<T>): Promise<T> {
    await this.exec(['sh', '-ec', act])
    try {
      return await check()
    } finally {
      await this.exec(['sh', '-ec', undo])
    }
  }

  /** Starts a process in here; it runs until it is stopped, at the latest with the bed. */
  spawn(command: Command, { env, name }: { env?: Record<string, string>; name?: string } = {}): Process {
    this.#spawned += 1
    const log = join(this.directory, `${name ?? `${command[0]}-${this.#spawned}`}.log`)
    const started = new Process(this.inside(command), log, env)
    this.#ground.processes.add(started)
    return started
  }

  /** Command lines of the processes in here, by pid; without those that end meanwhile. */
  async commandLines(): Promise<ReadonlyMap<number, readonly string[]>> {
    const pids = (await run(['ip', 'netns', 'pids', this.netns])).split('\n').map(Number)
    return new Map(pids.map(pid => [pid, commandLine(pid)] as const).filter(([, words]) => words.length > 0))
  }

  /** Records packets that pass a device, as tcpdump prints them; records from when it resolves. */
  async capture(device: string, filter = ''): Promise<Capture> {
    const flags = ['-i', device, '-nn', '-l', '--immediate-mode', '-tt', '-e', '-vv']
    const tcpdump = this.spawn(['tcpdump', ...flags, ...(filter === '' ? [] : [filter])])
    await tcpdump.says(/listening on/)
    return new Capture(tcpdump)
  }

  /** Round-trip times in ms, in order; unanswered pings are missing. */
  async ping(to: string, { count = 3, intervalSeconds = 0.01, timeoutSeconds = 1 } = {}): Promise<number[]> {
    const flags = ['-n', '-c', `${count}`, '-i', `${intervalSeconds}`, '-W', `${timeoutSeconds}`]
    const { stdout, stderr, code } = await this.attempt(['ping', ...flags, to])
    // Exit code 1: some were not answered. 2: ping could not send, which for want of a route is an answer
    // too.
    if (code > 1 && !stderr.includes('unreachable'))
      throw new Error(`Cannot ping ${to} from ${this.name}: ${stderr.trim() || stdout.trim()}`)
    return Array.from(stdout.matchAll(/ time=([\d.]+) ms/g), match => Number(match[1]))
  }

  /** GET over HTTP/1.0 from inside. Undefined while nothing listens. */
  async httpGet(port: number, path: string): Promise<{ status: number; body: string } | undefined> {
    const script = [
      `exec 3<>/dev/tcp/127.0.0.1/${port}`,
      `printf 'GET ${path.replaceAll('%', '%%')} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3`,
      'cat <&3',
    ].join(' && ')
    const { stdout, code } = await this.attempt(['bash', '-c', script])
    if (code !== 0) return undefined
    const end = stdout.indexOf('\r\n\r\n')
    return { status: Number(stdout.split(' ')[1]), body: stdout.slice(end + 4) }
  }
}
