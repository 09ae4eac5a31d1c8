import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { statfsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { backoffMs } from '../../lease/common/backoff.ts'
import { ExpectedError, messageOf, orUndefined } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import { isScarcity } from '../../lease/common/scarcity.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { hostOf } from '../../lease/net/ip.ts'
import type { TlsFiles } from './credentials.ts'
import { waitForFreePorts } from './free_ports.ts'
import { fatalReason, whatToDo } from './why_it_ended.ts'

export interface EmbeddedEtcdOptions {
  readonly dataDir: string
  /** URLs that clients use, this host's own first. */
  readonly clientUrls: readonly string[]
  /** URL at which other members reach this one. */
  readonly peerUrl: string
  readonly name: string
  /** All members of the cluster to join, as --initial-cluster has them; undefined: this is the first. */
  readonly cluster?: string
  /** etcd answers only clients with a certificate of this authority; undefined: every client. */
  readonly tls: TlsFiles | undefined
}

/** This host cannot run etcd. The message says what to install or to free. */
export class EmbeddedEtcdError extends ExpectedError {
  override name = 'EmbeddedEtcdError'
}

export interface Reports {
  readonly log: Log
  /** Reasons why etcd does not serve, by kind, for /readyz. Each says what to do. */
  readonly troubles: Map<string, string>
}

const END = 'end'
const DISK_FULL_BYTES = 1024 * 1024
const STOP_MS = 10_000

/** Stops etcd only after `use` has ended. Restarts an etcd that ends by itself, with back-off. */
export async function withEmbeddedEtcd(
  options: EmbeddedEtcdOptions,
  reports: Reports,
  signal: AbortSignal,
  use: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await waitForFreePorts([...options.clientUrls, options.peerUrl], signal)
  const stop = new AbortController()
  const failed = new AbortController()
  const supervised = supervise(options, reports, stop.signal).catch(error => failed.abort(error))
  try {
    await use(AbortSignal.any([signal, failed.signal]))
  } finally {
    stop.abort()
    await supervised
  }
  if (failed.signal.aborted) throw failed.signal.reason
}

async function supervise(options: EmbeddedEtcdOptions, reports: Reports, stop: AbortSignal): Promise<void> {
  const { log, troubles } = reports
  for (let attempt = 1; !stop.aborted; attempt++) {
    const startedMs = performance.now()
    const { code, reason, lastLines } = await runOnce(options, reports, stop).catch(asEnd)
    if (stop.aborted) return
    if (performance.now() - startedMs > 60_000) attempt = 1
    const waitMs = backoffMs(attempt + 3, 30_000)
    const known = reason ?? (isDiskFull(options.dataDir) ? 'no space left on device' : undefined)
    const why = known === undefined ? undefined : whatToDo(known, options.dataDir)
    const trouble = `the embedded etcd does not run: ${why ?? `it ended with ${code}`}`
    if (troubles.get(END) !== trouble)
      log.error(
        { code, ...(why === undefined ? { etcd: lastLines } : { why }), againInMs: waitMs },
        'the embedded etcd ended by itself: starting it again',
      )
    troubles.set(END, trouble)
    await sleep(waitMs, stop).catch(() => undefined)
  }
}

/** Then etcd may end without a log line: SIGBUS, as a page of its data file cannot be written. */
function isDiskFull(folder: string): boolean {
  const disk = orUndefined(() => statfsSync(folder))
  return disk !== undefined && disk.bavail * disk.bsize < DISK_FULL_BYTES
}

/** Without a descriptor or memory for a process on this host, etcd is started again later. */
function asEnd(error: unknown): End {
  if (!isScarcity(error)) throw error
  return { code: messageOf(error), reason: undefined, lastLines: [] }
}

interface End {
  readonly code: number | string
  readonly reason: string | undefined
  readonly lastLines: readonly string[]
}

async function runOnce(options: EmbeddedEtcdOptions, reports: Reports, stop: AbortSignal): Promise<End> {
  const { log, troubles } = reports
  // A process group of its own: otherwise Ctrl-C in a terminal would end etcd before the agent. --pdeathsig
  // ends etcd when the agent is killed: otherwise it would keep the port and the data folder.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', 'etcd', ...etcdArguments(options)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { PATH: process.env.PATH },
  })
  const lastLines: string[] = []
  let reason: string | undefined
  // Without a free descriptor the child has no stream, and its 'error' event says so.
  const output: Readable | null | undefined = child.stderr
  const lines = output ? createInterface({ input: output }) : undefined
  lines?.on('line', line => {
    log.trace({ etcd: line }, 'embedded etcd')
    reason = fatalReason(line) ?? reason
    if (/ready to serve client requests|serving client traffic/.test(line) && troubles.delete(END))
      log.info({}, 'the embedded etcd serves again')
    lastLines.push(line)
    if (lastLines.length > 5) lastLines.shift()
  })
  const stopChild = () => end(child)
  stop.addEventListener('abort', stopChild, { once: true })
  const code = await exitOf(child).finally(() => stop.removeEventListener('abort', stopChild))
  return { code, reason, lastLines }
}

function etcdArguments(options: EmbeddedEtcdOptions): string[] {
  const { dataDir, clientUrls, peerUrl: peer, name, cluster, tls } = options
  return [
    `--name=${name}`,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${clientUrls.join(',')}`,
    `--advertise-client-urls=${clientUrls.at(-1)}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=${cluster ?? `${name}=${peer}`}`,
    `--initial-cluster-state=${cluster === undefined ? 'new' : 'existing'}`,
    // Against requests that a web page makes a browser send: no JSON gateway, no scripts of other sites, no
    // other name for this host (DNS rebinding).
    '--enable-grpc-gateway=false',
    `--cors=${clientUrls[0]}`,
    `--host-whitelist=${clientUrls.map(url => hostOf(url)).join(',')}`,
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=1h',
    '--logger=zap',
    ...(tls === undefined ? [] : tlsArguments(tls)),
  ]
}

function tlsArguments({ caFile, certFile, keyFile }: TlsFiles): string[] {
  return ['', 'peer-'].flatMap(side => [
    `--${side}cert-file=${certFile}`,
    `--${side}key-file=${keyFile}`,
    `--${side}client-cert-auth`,
    `--${side}trusted-ca-file=${caFile}`,
  ])
}

/** Rejects where etcd or setpriv is not installed: 127 is setpriv's code for a missing program. */
async function exitOf(child: ChildProcess): Promise<number | string> {
  try {
    const [code, killedBy] = await once(child, 'exit')
    if (code === 127) throw missing()
    return code ?? killedBy
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw missing(cause)
    throw cause
  }
}

function missing(cause?: unknown): EmbeddedEtcdError {
  const message =
    'Cannot start the embedded etcd: etcd and setpriv are needed: apt-get install etcd-server util-linux'
  return new EmbeddedEtcdError(message, { cause })
}

function end(child: ChildProcess): void {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
  child.once('exit', () => clearTimeout(timer))
}
