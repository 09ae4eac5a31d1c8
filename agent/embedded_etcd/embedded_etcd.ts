import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { backoffMs } from '../../lease/common/backoff.ts'
import { ExpectedError, isScarcity, messageOf } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { waitForFreePorts } from './free_ports.ts'

export interface EmbeddedEtcdOptions {
  readonly dataDir: string
  /** URLs that clients use, this host's own first. */
  readonly clientUrls: readonly string[]
}

/** etcd cannot be run here. The message says what to install or to free. */
export class EmbeddedEtcdError extends ExpectedError {
  override name = 'EmbeddedEtcdError'
}

const STOP_MS = 10_000

/**
 * Runs an etcd of one member until `use` has ended, whatever ends it, and stops it only then: the agent that uses it goes
 * first. An etcd that dies is started again, with back-off.
 */
export async function withEmbeddedEtcd(
  options: EmbeddedEtcdOptions,
  log: Log,
  signal: AbortSignal,
  use: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await waitForFreePorts([...options.clientUrls, peerUrl(options)], signal)
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 })
  const stop = new AbortController()
  const failed = new AbortController()
  const supervised = supervise(options, log, stop.signal).catch(error => failed.abort(error))
  try {
    await use(AbortSignal.any([signal, failed.signal]))
  } finally {
    stop.abort()
    await supervised
  }
  if (failed.signal.aborted) throw failed.signal.reason
}

async function supervise(options: EmbeddedEtcdOptions, log: Log, stop: AbortSignal): Promise<void> {
  for (let attempt = 1; !stop.aborted; attempt++) {
    const startedMs = performance.now()
    const { code, lastLines } = await runOnce(options, log, stop).catch(asEnd)
    if (stop.aborted) return
    if (performance.now() - startedMs > 60_000) attempt = 1
    const waitMs = backoffMs(attempt + 3, 30_000)
    log.error(
      { code, etcd: lastLines, againInMs: waitMs },
      'the embedded etcd ended by itself: starting it again',
    )
    await sleep(waitMs, stop).catch(() => undefined)
  }
}

/** Where this host has no descriptor or memory left for a process, that is an end like any other: it is tried again. */
function asEnd(error: unknown): { code: string; lastLines: string[] } {
  if (!isScarcity(error)) throw error
  return { code: messageOf(error), lastLines: [] }
}

async function runOnce(options: EmbeddedEtcdOptions, log: Log, stop: AbortSignal) {
  // In a process group of its own, or Ctrl-C in a terminal would end it before the agent; --pdeathsig ends it even when the
  // agent is killed, so that no orphan holds the port and the data folder.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', 'etcd', ...etcdArguments(options)], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { PATH: process.env.PATH },
  })
  const lastLines: string[] = []
  // Without a descriptor left there is no stream, and the child's 'error' says so.
  const said: Readable | null | undefined = child.stderr
  const lines = said ? createInterface({ input: said }) : undefined
  lines?.on('line', line => {
    log.trace({ etcd: line }, 'embedded etcd')
    lastLines.push(line)
    if (lastLines.length > 5) lastLines.shift()
  })
  const stopChild = () => end(child)
  stop.addEventListener('abort', stopChild, { once: true })
  try {
    const code = await exitOf(child)
    return { code, lastLines }
  } finally {
    stop.removeEventListener('abort', stopChild)
  }
}

function etcdArguments(options: EmbeddedEtcdOptions): string[] {
  const { dataDir, clientUrls } = options
  const peer = peerUrl(options)
  return [
    '--name=twill',
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${clientUrls.join(',')}`,
    `--advertise-client-urls=${clientUrls.join(',')}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=twill=${peer}`,
    // What a browser could be made to ask: no JSON gateway, no other site's scripts, no other name for this host (DNS rebinding).
    '--enable-grpc-gateway=false',
    `--cors=${clientUrls[0]}`,
    `--host-whitelist=${clientUrls.map(url => new URL(url).hostname.replace(/^\[|\]$/g, '')).join(',')}`,
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=1h',
    '--logger=zap',
  ]
}

/** For other members, of which there are none: next to the port for clients, and not to be reached from outside. */
function peerUrl({ clientUrls: [first = ''] }: EmbeddedEtcdOptions): string {
  return `http://127.0.0.1:${Number(new URL(first).port) + 1}`
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
