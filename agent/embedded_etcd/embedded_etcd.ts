import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { statfsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { backoffMs } from '../../lease/common/backoff.ts'
import { ExpectedError, messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import { isScarcity } from '../../lease/common/scarcity.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { TlsFiles } from './credentials.ts'
import { waitForFreePorts } from './free_ports.ts'
import { fatalReason, whatToDo } from './why_it_ended.ts'

export interface EmbeddedEtcdOptions {
  readonly dataDir: string
  /** URLs that clients use, this host's own first. */
  readonly clientUrls: readonly string[]
  /** URL of other members. */
  readonly peerUrl: string
  readonly name: string
  /** All members that there are, as --initial-cluster has them, where this one joins them; undefined: it is the first. */
  readonly cluster?: string
  /** Only who has a certificate of the same authority is answered; undefined: everyone is. */
  readonly tls: TlsFiles | undefined
}

/** etcd cannot be run here. The message says what to install or to free. */
export class EmbeddedEtcdError extends ExpectedError {
  override name = 'EmbeddedEtcdError'
}

/** What keeps etcd from serving, in words that say what to do, by kind: for /readyz. */
export type Troubles = Map<string, string>

const END = 'end'
const LITTLE_BYTES = 1024 * 1024
const STOP_MS = 10_000

/**
 * Runs one member of etcd until `use` has ended, whatever ends it, and stops it only then: the agent that
 * uses it goes first. An etcd that dies is started again, with back-off.
 */
export async function withEmbeddedEtcd(
  options: EmbeddedEtcdOptions,
  troubles: Troubles,
  log: Log,
  signal: AbortSignal,
  use: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await waitForFreePorts([...options.clientUrls, options.peerUrl], signal)
  const stop = new AbortController()
  const failed = new AbortController()
  const supervised = supervise(options, troubles, log, stop.signal).catch(error => failed.abort(error))
  try {
    await use(AbortSignal.any([signal, failed.signal]))
  } finally {
    stop.abort()
    await supervised
  }
  if (failed.signal.aborted) throw failed.signal.reason
}

async function supervise(
  options: EmbeddedEtcdOptions,
  troubles: Troubles,
  log: Log,
  stop: AbortSignal,
): Promise<void> {
  for (let attempt = 1; !stop.aborted; attempt++) {
    const startedMs = performance.now()
    const { code, reason, lastLines } = await runOnce(options, troubles, log, stop).catch(asEnd)
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

/** etcd may end without a word then: a page of its file that cannot be had is SIGBUS. */
function isDiskFull(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize < LITTLE_BYTES
  } catch {
    return false
  }
}

/**
 * Where this host has no descriptor or memory left for a process, that is an end like any other: it is tried
 * again.
 */
function asEnd(error: unknown): End {
  if (!isScarcity(error)) throw error
  return { code: messageOf(error), reason: undefined, lastLines: [] }
}

interface End {
  readonly code: number | string
  /** What etcd itself says. */
  readonly reason: string | undefined
  readonly lastLines: readonly string[]
}

async function runOnce(
  options: EmbeddedEtcdOptions,
  troubles: Troubles,
  log: Log,
  stop: AbortSignal,
): Promise<End> {
  // In a process group of its own, or Ctrl-C in a terminal would end it before the agent; --pdeathsig ends it
  // even when the agent is killed, so that no orphan holds the port and the data folder.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', 'etcd', ...etcdArguments(options)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { PATH: process.env.PATH },
  })
  const lastLines: string[] = []
  let reason: string | undefined
  // Without a descriptor left there is no stream, and the child's 'error' says so.
  const said: Readable | null | undefined = child.stderr
  const lines = said ? createInterface({ input: said }) : undefined
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
  try {
    const code = await exitOf(child)
    return { code, reason, lastLines }
  } finally {
    stop.removeEventListener('abort', stopChild)
  }
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
    // What a browser could be made to ask: no JSON gateway, no other site's scripts, no other name for this
    // host (DNS rebinding).
    '--enable-grpc-gateway=false',
    `--cors=${clientUrls[0]}`,
    `--host-whitelist=${clientUrls.map(url => new URL(url).hostname.replace(/^\[|\]$/g, '')).join(',')}`,
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

/** Rejects where there is no etcd to run. 127 is setpriv's code for a program that it does not find. */
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
