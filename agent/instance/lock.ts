import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { ExpectedError } from '../../lease/common/errors.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { loadLibc } from '../netlink/socket/libc.ts'

/** Another agent on this host has what this one needs. The message names that agent. */
export class HeldError extends ExpectedError {
  override name = 'HeldError'
}

/** An agent that is shutting down releases its locks within this time. */
const WAIT_FOR_HOLDER_MS = 5_000
const RETRY_MS = 100
const ANSWER_MS = 1_000
/** More than any agent answers. */
const MOST_ANSWER = 200
const SILENT = 'it does not answer'

/** A device, network or file that only one agent may work on; `text` names it in messages. */
export interface Claim {
  readonly key: string
  readonly text: string
}

/**
 * Locks on devices, networks and files, one agent each. A lock is an abstract unix socket (unix(7)) of this
 * network namespace: the kernel frees it when the process ends for any reason, and it needs no writable
 * directory.
 */
export class Locks {
  readonly #servers: Server[] = []
  readonly #answer: string

  constructor(version: string) {
    this.#answer = `twilld ${version}, process ${process.pid} on ${hostname()}, started ${new Date().toISOString()}`
  }

  /**
   * Throws HeldError. Skips what another user holds, and what no known agent holds after a while: another
   * user must not be able to keep the agent from starting.
   */
  async take(claims: readonly Claim[], signal: AbortSignal): Promise<void> {
    const untilMs = performance.now() + WAIT_FOR_HOLDER_MS
    for (const claim of claims) await this.#take(claim, untilMs, signal)
  }

  release(): void {
    for (const server of this.#servers) server.close()
  }

  async #take(claim: Claim, untilMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      const server = createServer(socket => socket.on('error', () => {}).end(this.#answer))
      server.maxConnections = 8
      if (await listens(server, claim)) {
        this.#servers.push(server)
        return
      }
      const holder = await findHolder(claim)
      if (holder?.isOwnUser === false) return
      if (performance.now() >= untilMs) {
        if (!holder?.isOwnUser) return
        throw new HeldError(
          `Another agent on this host has ${claim.text}: ${holder.says}; stop it, or give each its own network, VNI, ` +
            '--subnet-file and --cache-file',
        )
      }
      await sleep(RETRY_MS, signal)
    }
  }
}

export interface Holder {
  /** The holder's answer: program, version, process and host. */
  readonly says: string
  /** Whether the holder runs as our own user, which is root; undefined: it accepts no connection now. */
  readonly isOwnUser: boolean | undefined
}

/** Asks who holds a claim; undefined where it is free, or its socket is bound and does not listen. */
export async function findHolder(claim: Claim): Promise<Holder | undefined> {
  const socket = connect(address(claim))
  try {
    await once(socket, 'connect')
    const isOwnUser = await runsAsOwnUser(socket)
    return { says: await answerOf(socket), isOwnUser }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return undefined
    return { says: SILENT, isOwnUser: undefined }
  } finally {
    socket.destroy()
  }
}

/** False where another process holds the name. The server does not keep the process from ending. */
async function listens(server: Server, claim: Claim): Promise<boolean> {
  server.unref()
  server.listen(address(claim))
  try {
    await once(server, 'listening')
    server.on('error', () => {})
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false
    throw error
  }
}

/** #define SOL_SOCKET 1, SO_PEERCRED 17: struct ucred { pid, uid, gid }. */
async function runsAsOwnUser(socket: Socket): Promise<boolean> {
  const { fd = -1 } = (socket as unknown as { _handle?: { fd?: number } })._handle ?? {}
  const credentials = Buffer.alloc(12)
  const libc = await loadLibc()
  libc.getSocketOption(fd, 1, 17, credentials)
  return credentials.readUInt32LE(4) === process.getuid?.()
}

async function answerOf(socket: Socket): Promise<string> {
  let text = ''
  socket.setEncoding('utf8').on('data', chunk => {
    text += chunk
    if (text.length > MOST_ANSWER) socket.destroy()
  })
  await once(socket, 'close', { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => {})
  return text === '' ? SILENT : text.slice(0, MOST_ANSWER).replaceAll(/[^ -~]/g, '?')
}

/** Bytes of sockaddr_un.sun_path (unix(7)). */
const SUN_PATH = 108

/** Padded as Node.js 20 does it: later releases bind the exact length, which would be another name. */
function address({ key }: Claim): string {
  return `\0twill/${key}`.padEnd(SUN_PATH, '\0')
}
