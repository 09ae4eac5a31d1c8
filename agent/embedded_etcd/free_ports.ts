import { once } from 'node:events'
import { createServer } from 'node:net'
import { ExpectedError, messageOf } from '../../lease/common/errors.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { hostOf } from '../../lease/net/ip.ts'
import { portHolder } from '../netlink/port_holder.ts'

/** A port that etcd needs is taken. The message names the program that has it, and what to do. */
export class PortTakenError extends ExpectedError {
  override name = 'PortTakenError'
}

/** After an agent was killed, its etcd ends within this time. */
const WAIT_FOR_PORT_MS = 10_000
const RETRY_MS = 200

/**
 * Resolves once all these ports are free. Throws PortTakenError: otherwise another etcd on such a port would
 * answer, and this node would take its leases from another network. Debian's package starts an etcd when it
 * is installed.
 */
export async function waitForFreePorts(urls: readonly string[], signal: AbortSignal): Promise<void> {
  const untilMs = performance.now() + WAIT_FOR_PORT_MS
  for (const url of urls) {
    for (let trouble = await listenTrouble(url); trouble !== undefined; trouble = await listenTrouble(url)) {
      if (performance.now() >= untilMs) throw new PortTakenError(taken(url, trouble))
      await sleep(RETRY_MS, signal)
    }
  }
}

async function listenTrouble(url: string): Promise<NodeJS.ErrnoException | undefined> {
  const server = createServer().listen({ host: hostOf(url), port: Number(new URL(url).port) })
  try {
    await once(server, 'listening')
    return undefined
  } catch (error) {
    return error as NodeJS.ErrnoException
  } finally {
    server.close()
  }
}

function taken(url: string, error: NodeJS.ErrnoException): string {
  const { port } = new URL(url)
  if (error.code !== 'EADDRINUSE') return `The embedded etcd cannot listen on ${url}: ${messageOf(error)}`
  const holder = portHolder('tcp', Number(port)) ?? 'another program'
  return (
    `The embedded etcd needs ${url}, and ${holder} has that port. If it is the etcd that Debian's package started: ` +
    'systemctl disable --now etcd. Or give the embedded one another port: --etcd-endpoints=http://127.0.0.1:2479'
  )
}
