import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface EtcdFiles {
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
}

export interface EtcdServerOptions {
  /** Address to listen on, on the host or inside `netns`. */
  readonly host?: string
  /** Name under /run/netns; the server and every etcdctl run inside of it. */
  readonly netns?: string
  /** The server's certificate; clients then speak https. */
  readonly tls?: EtcdFiles
  /** Whether clients must show a certificate of the same CA. */
  readonly clientCertAuth?: boolean
  /** The client certificate of etcdctl and of the readiness check. */
  readonly clientTls?: EtcdFiles
  /** More flags, as in `['--quota-backend-bytes=65536']`. */
  readonly flags?: readonly string[]
  /** This member's part of a new cluster; set by startEtcdCluster. */
  readonly member?: { readonly name: string; readonly peerPort: number; readonly initialCluster: string }
}

/** One running etcd member with a data folder of its own. */
export interface EtcdServer {
  readonly endpoint: string
  /** The endpoint as a list, as a store's options need it. */
  readonly endpoints: readonly string[]
  readonly host: string
  readonly port: number
  readonly dataDir: string
  pid(): number | undefined
  /** Runs etcdctl with the endpoint set and resolves to what it prints; rejects with its error text. */
  ctl(...args: readonly string[]): Promise<string>
  /** Ends the process and waits for its end; SIGTERM by default. Does nothing where it is not running. */
  stop(signal?: NodeJS.Signals): Promise<void>
  /**
   * Starts it again on the same port and data, and waits until it answers, unless `unready`. `fresh` deletes
   * the data first.
   */
  restart(options?: {
    readonly fresh?: boolean
    readonly unready?: boolean
    readonly flags?: readonly string[]
  }): Promise<void>
  /** Writes a snapshot by `etcdctl snapshot save`. */
  snapshot(file: string): Promise<void>
  /**
   * Ends it, replaces its data by the snapshot and starts it again. `more` flags may ask for another cluster
   * id.
   */
  restore(file: string, more?: readonly string[]): Promise<void>
  /** SIGSTOP: the kernel still accepts connections, etcd does not answer. */
  pause(): void
  resume(): void
  /** Resolves once it answers a linearizable read (it has a leader). */
  ready(timeoutMs?: number): Promise<void>
  /** All output of the process, for a failing test's message. */
  output(): string
  /** stop(SIGKILL) and removes the data folder. */
  remove(): Promise<void>
}

/** etcdctl's default of 5 s is too short for checking a password on a busy machine. */
export const etcdctlLimits = ['--command-timeout=60s', '--dial-timeout=30s']

const saysThatItServes = /etcdserver: published|ready to serve client requests|serving (insecure )?client/

/** Starts one etcd and waits until it answers. Call `remove` at the test's end, also after a failure. */
export async function startEtcd(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const server = await makeEtcd(options)
  await launch(server)
  return server
}

/**
 * A cluster of members on this host, or one in each network namespace (`hosts` then gives their addresses).
 */
export interface EtcdCluster {
  readonly members: readonly EtcdServer[]
  readonly endpoints: readonly string[]
  /** The member that leads just now. */
  leader(): Promise<EtcdServer>
  remove(): Promise<void>
}

export async function startEtcdCluster(
  size: number,
  options: Omit<EtcdServerOptions, 'member'> = {},
  places: readonly { readonly host: string; readonly netns?: string }[] = [],
): Promise<EtcdCluster> {
  const plans = []
  for (let i = 0; i < size; i++) {
    const place = places[i] ?? { host: '127.0.0.1' }
    plans.push({ ...place, name: `m${i}`, peerPort: await freePort() })
  }
  const initialCluster = plans.map(p => `${p.name}=http://${p.host}:${p.peerPort}`).join(',')
  const members: EtcdServer[] = []
  for (const { name, peerPort, ...place } of plans)
    members.push(await makeEtcd({ ...options, ...place, member: { name, peerPort, initialCluster } }))
  const remove = async () => {
    await Promise.all(members.map(member => member.remove()))
  }
  await Promise.all(members.map(launch)).catch(async error => {
    await remove()
    throw error
  })
  return {
    members,
    endpoints: members.map(member => member.endpoint),
    leader: () => findLeader(members),
    remove,
  }
}

/** A TCP port of this host that no process listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port')),
      )
    })
  })
}

/** Data folders by process: removed when a test file ends with an error. */
const running = new Map<ChildProcess, string>()
process.on('exit', () => {
  for (const [child, dataDir] of running) {
    child.kill('SIGKILL')
    rmSync(dataDir, { recursive: true, force: true })
  }
})

async function makeEtcd(options: EtcdServerOptions): Promise<EtcdServer> {
  const host = options.host ?? '127.0.0.1'
  const peerPort = options.member?.peerPort ?? (await freePort())
  let port = await freePort()
  // Nothing listens on either yet, so the kernel may name one port twice.
  while (port === peerPort) port = await freePort()
  const dataDir = await mkdtemp(join(tmpdir(), 'twill-etcd-'))
  const endpoint = `${options.tls ? 'https' : 'http'}://${host}:${port}`
  let child: ChildProcess | undefined
  let output = ''
  // Said once, while `output` forgets: members that lost each other say much.
  let serves = false
  let moreFlags = options.flags ?? []

  const start = () => {
    const flags = [...etcdFlags(options, endpoint, `http://${host}:${peerPort}`, dataDir), ...moreFlags]
    const [command, args] = inNetns(options.netns, 'etcd', flags)
    const started = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const keep = (chunk: unknown) => {
      output = (output + String(chunk)).slice(-64_000)
      serves ||= saysThatItServes.test(output)
    }
    started.stdout.on('data', keep)
    started.stderr.on('data', keep)
    started.on('error', error => keep(error.stack))
    started.on('exit', () => {
      running.delete(started)
      if (child === started) child = undefined
    })
    running.set(started, dataDir)
    child = started
  }
  const server: EtcdServer = {
    endpoint,
    endpoints: [endpoint],
    host,
    port,
    dataDir,
    pid: () => child?.pid,
    output: () => output,
    async ctl(...args) {
      const tls = options.clientTls ?? options.tls
      const security = tls ? [`--cacert=${tls.caFile}`] : []
      if (tls && options.clientCertAuth) security.push(`--cert=${tls.certFile}`, `--key=${tls.keyFile}`)
      const [command, argv] = inNetns(options.netns, 'etcdctl', [
        `--endpoints=${endpoint}`,
        ...security,
        ...etcdctlLimits,
        ...args,
      ])
      const { stdout } = await run(command, argv, { env: { ...process.env, ETCDCTL_API: '3' } })
      return stdout
    },
    async stop(signal = 'SIGTERM') {
      const ending = child
      if (!ending) return
      const ended = new Promise(resolve => ending.once('exit', resolve))
      ending.kill('SIGCONT')
      ending.kill(signal)
      await ended
    },
    async restart(again = {}) {
      await server.stop()
      if (again.flags) moreFlags = again.flags
      if (again.fresh) await rm(dataDir, { recursive: true, force: true })
      start()
      if (!again.unready) await server.ready()
    },
    async snapshot(file) {
      await rm(file, { force: true })
      await server.ctl('snapshot', 'save', file)
    },
    async restore(file, more = []) {
      await server.stop('SIGKILL')
      await rm(dataDir, { recursive: true, force: true })
      const peerUrl = `http://${host}:${peerPort}`
      const name = options.member?.name ?? 'solo'
      const flags = [
        `--name=${name}`,
        `--data-dir=${dataDir}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=${options.member?.initialCluster ?? `${name}=${peerUrl}`}`,
        ...more,
      ]
      await run('etcdctl', ['snapshot', 'restore', file, ...flags], {
        env: { ...process.env, ETCDCTL_API: '3' },
      })
      await server.restart()
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    async ready(timeoutMs = 60_000) {
      if (!child) start()
      const until = Date.now() + timeoutMs
      for (;;) {
        if (serves && (await answers(server))) return
        if (!child) throw new Error(`etcd at ${endpoint} ended:\n${output}`)
        if (Date.now() > until) throw new Error(`etcd at ${endpoint} does not answer:\n${output}`)
        await sleep(25)
      }
    },
    async remove() {
      await server.stop('SIGKILL')
      await rm(dataDir, { recursive: true, force: true })
    },
  }
  return server
}

async function launch(server: EtcdServer): Promise<void> {
  try {
    await server.ready()
  } catch (error) {
    await server.remove()
    throw error
  }
}

/** Whether the server answers. With authentication on, a refusal is an answer too. */
async function answers(server: EtcdServer): Promise<boolean> {
  try {
    await server.ctl('get', '/', '--limit=1', '--dial-timeout=5s', '--command-timeout=5s')
    return true
  } catch (error) {
    return /user name is empty|permission denied|authentication/.test(String(error))
  }
}

async function findLeader(members: readonly EtcdServer[]): Promise<EtcdServer> {
  for (const member of members) {
    if (member.pid() === undefined) continue
    const text = await member
      .ctl('endpoint', 'status', '-w', 'json', '--command-timeout=10s')
      .catch(() => '[]')
    for (const { Status } of JSON.parse(text) as {
      Status: { header: { member_id: number }; leader: number }
    }[])
      if (Status.header.member_id === Status.leader) return member
  }
  throw new Error('no etcd member leads')
}

function etcdFlags(
  options: EtcdServerOptions,
  clientUrl: string,
  peerUrl: string,
  dataDir: string,
): readonly string[] {
  const name = options.member?.name ?? 'solo'
  const flags = [
    `--name=${name}`,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${options.member?.initialCluster ?? `${name}=${peerUrl}`}`,
    '--logger=zap',
    '--log-outputs=stderr',
  ]
  if (options.member) flags.push('--heartbeat-interval=50', '--election-timeout=500')
  if (options.tls) flags.push(`--cert-file=${options.tls.certFile}`, `--key-file=${options.tls.keyFile}`)
  if (options.tls && options.clientCertAuth)
    flags.push('--client-cert-auth', `--trusted-ca-file=${options.tls.caFile}`)
  return flags
}

/** `ip netns exec` would remount /sys; nsenter does not. */
function inNetns(netns: string | undefined, command: string, args: readonly string[]): [string, string[]] {
  if (netns === undefined) return [command, [...args]]
  return ['nsenter', [`--net=/run/netns/${netns}`, command, ...args]]
}
