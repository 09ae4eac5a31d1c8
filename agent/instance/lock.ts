import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { ExpectedError } from '../../lease/common/errors.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { loadLibc } from '../netlink/socket/libc.ts'

/** Another agent of this host has what this one needs. The message names it. */
export class HeldError extends ExpectedError {
  override name = 'HeldError'
}

/** An agent that is just ending lets go within this time. */
const PATIENCE_MS = 5_000
const AGAIN_MS = 100
/** How long a holder may take to say who it is. */
const ANSWER_MS = 1_000

/** What one agent alone may work on, and how it is called in a message. */
export interface Claim {
  readonly key: string
  readonly text: string
}

/**
 * What only one agent may work on: each device, network and file. A lock is an abstract unix socket (unix(7))
 * of this network namespace: the kernel frees it with the process, however that ends, and it needs no
 * writable directory.
 */
export class Locks {
  readonly #servers: Server[] = []
  readonly #answer: string

  constructor(version: string) {
    this.#answer = `twilld ${version}, process ${process.pid} on ${hostname()}, started ${new Date().toISOString()}`
  }

  /**
   * Takes all that is claimed, or throws HeldError. What a process of another user has is passed over: any
   * user can take such a name, and none may keep the agent from starting so.
   */
  async take(claims: readonly Claim[], signal: AbortSignal): Promise<void> {
    for (const claim of claims) await this.#take(claim, signal)
  }

  release(): void {
    for (const server of this.#servers) server.close()
  }

  async #take(claim: Claim, signal: AbortSignal): Promise<void> {
    for (const untilMs = performance.now() + PATIENCE_MS; ; ) {
      signal.throwIfAborted()
      const server = createServer(socket => socket.on('error', () => {}).end(this.#answer))
      server.maxConnections = 8
      if (await listens(server, claim)) {
        this.#servers.push(server)
        return
      }
      const holder = await whoHolds(claim)
      if (holder?.isOurs === false) return
      if (holder !== undefined && performance.now() >= untilMs)
        throw new HeldError(
          `Another agent on this host has ${claim.text}: ${holder.says}; stop it, or give each its own network, VNI, ` +
            '--subnet-file and --cache-file',
        )
      await sleep(AGAIN_MS, signal)
    }
  }
}

export interface Holder {
  /** Who it is, in its own words. */
  readonly says: string
  /** It runs under our own user, which is root's. */
  readonly isOurs: boolean
}

/** Undefined where the name is free. */
export async function whoHolds(claim: Claim): Promise<Holder | undefined> {
  const socket = connect(address(claim))
  try {
    await once(socket, 'connect')
    const isOurs = await isOfOurUser(socket)
    return { says: await answerOf(socket), isOurs }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return undefined
    return { says: 'it does not answer', isOurs: true }
  } finally {
    socket.destroy()
  }
}

/** Stays open for as long as the process lives, and keeps it from ending by no means. */
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
async function isOfOurUser(socket: Socket): Promise<boolean> {
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
  })
  await once(socket, 'end', { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => {})
  return text === '' ? 'it does not answer' : text.slice(0, 200).replaceAll(/[^ -~]/g, '?')
}

/** At most 107 bytes (unix(7)). */
function address({ key }: Claim): string {
  return `\0twill/${key}`
}
