import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Ip, parseIp } from '../../lease/net/ip.ts'
import type { Bed } from './bed.ts'
import { run } from './exec.ts'
import { Namespace } from './namespace.ts'

/** Debian's containernetworking-plugins installs the plugins here. */
const pluginDirectory = '/usr/lib/cni'

interface PortMapping {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: 'tcp' | 'udp'
}

interface Conflist {
  readonly cniVersion: string
  readonly name: string
  readonly plugins: readonly (Record<string, unknown> & {
    readonly type: string
    readonly capabilities?: Readonly<Record<string, boolean>>
  })[]
}

/** The fields of ADD's result that a runtime uses. */
interface CniResult {
  readonly ips: readonly { readonly address: string; readonly gateway: string }[]
}

/**
 * A container runtime's part of CNI: runs a network's plugins in order in the host's namespace, each with the
 * result of the one before (CNI specification, section 4). Each host has its own /var/lib/cni.
 */
export class CniRuntime {
  readonly #bed: Bed
  readonly #host: Namespace
  readonly #file: string
  #pods = 0

  constructor(bed: Bed, host: Namespace, conflistFile: string) {
    this.#bed = bed
    this.#host = host
    this.#file = conflistFile
    mkdirSync(this.stateDirectory, { recursive: true })
  }

  get stateDirectory(): string {
    return join(this.#host.directory, 'cni-state')
  }

  get conflist(): Conflist {
    return JSON.parse(readFileSync(this.#file, 'utf8'))
  }

  /** Addresses that the plugin host-local has assigned. */
  get reserved(): string[] {
    const files = readdirSync(join(this.stateDirectory, 'networks', this.conflist.name))
    return files.filter(name => /^[\da-f.:]+$/.test(name)).sort()
  }

  /** A pod in a namespace of its own, attached by ADD. */
  async add(portMappings: readonly PortMapping[] = []): Promise<CniPod> {
    this.#pods += 1
    const name = `${this.#host.name}-cni${this.#pods}`
    const conflist = this.conflist
    await run(['ip', 'netns', 'add', `${this.#bed.id}-${name}`])
    const bare = new Namespace(this.#bed, name)
    await bare.ip(['link set lo up'])
    // Duplicate address detection would make each ADD wait two seconds.
    await bare.sysctl({ 'ipv6/conf/default/accept_dad': 0 })
    let result: CniResult = { ips: [] }
    for (const plugin of conflist.plugins) {
      const said = await this.#plugin('ADD', conflist, plugin.type, bare, result, portMappings)
      result = JSON.parse(said)
    }
    return new CniPod(this.#bed, this, name, conflist, result, portMappings)
  }

  /** Throws the plugin's error where the pod is no longer as ADD left it. */
  async check(pod: CniPod): Promise<void> {
    // portmap 1.1.1 looks for the IPv4 rules of a pod with ports and both families in ip6tables too.
    const skipped = pod.portMappings.length > 0 && pod.addresses.length > 1 ? 'portmap' : undefined
    for (const { type } of pod.conflist.plugins.filter(plugin => plugin.type !== skipped))
      await this.#plugin('CHECK', pod.conflist, type, pod, pod.result, pod.portMappings)
  }

  /**
   * Removes the pod. `conflist`: another one than ADD used, as a runtime does after the file was replaced.
   */
  async delete(pod: CniPod, conflist = pod.conflist): Promise<void> {
    for (const { type } of conflist.plugins.toReversed())
      await this.#plugin('DEL', conflist, type, pod, pod.result, pod.portMappings)
  }

  async #plugin(
    command: 'ADD' | 'CHECK' | 'DEL',
    { cniVersion, name, plugins }: Conflist,
    type: string,
    pod: Namespace,
    prevResult: CniResult,
    portMappings: readonly PortMapping[],
  ): Promise<string> {
    const plugin = plugins.find(one => one.type === type)
    const mapped = plugin?.capabilities?.portMappings ? { runtimeConfig: { portMappings } } : {}
    const previous = prevResult.ips.length === 0 ? {} : { prevResult }
    const input = JSON.stringify({ ...plugin, cniVersion, name, ...mapped, ...previous })
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: pod.name,
      CNI_NETNS: `/run/netns/${pod.netns}`,
      CNI_IFNAME: 'eth0',
      CNI_PATH: pluginDirectory,
    }
    // Mounts a tmpfs for the directory: a user who is root only in this namespace may not create it in the
    // machine's.
    const own = 'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/cni && mount --bind "$1" /var/lib/cni'
    const script = `${own} && exec ${pluginDirectory}/${type}`
    return await this.#host.exec(['unshare', '--mount', 'sh', '-c', script, 'sh', this.stateDirectory], {
      input,
      env,
    })
  }
}

/** A pod as a container runtime makes it. */
export class CniPod extends Namespace {
  readonly runtime: CniRuntime
  readonly conflist: Conflist
  readonly result: CniResult
  readonly portMappings: readonly PortMapping[]

  constructor(
    bed: Bed,
    runtime: CniRuntime,
    name: string,
    conflist: Conflist,
    result: CniResult,
    portMappings: readonly PortMapping[],
  ) {
    super(
      bed,
      name,
      result.ips.map(({ address }) => parseIp(address.slice(0, address.indexOf('/')))),
    )
    this.runtime = runtime
    this.conflist = conflist
    this.result = result
    this.portMappings = portMappings
  }

  check(): Promise<void> {
    return this.runtime.check(this)
  }

  delete(): Promise<void> {
    return this.runtime.delete(this)
  }
}

/** Listens on a TCP port of the namespace, and sends each client the address that it comes from. */
export async function tellClients(where: Namespace, port: number): Promise<void> {
  const script = `require('net').createServer(s => s.on('error', () => {}).end(s.remoteAddress)).listen(${port}, '::', () => console.log('listening'))`
  await where.spawn([process.execPath, '-e', script], { name: `tell-${port}` }).says(/listening/)
}

/** The client address that such a server sees; undefined where the server is not reached in time. */
export async function seenAs(
  where: Namespace,
  server: Ip | string,
  port: number,
  withinSeconds = 20,
): Promise<string | undefined> {
  const script = `timeout ${withinSeconds} bash -c 'exec 3<>/dev/tcp/${server}/${port} && cat <&3'`
  const { stdout, code } = await where.attempt(['sh', '-c', script])
  return code === 0 ? stdout.replace('::ffff:', '') : undefined
}
