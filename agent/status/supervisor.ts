import type { Log } from '../../lease/common/log.ts'
import { printable } from '../../lease/common/printable.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { LibcError, loadLibc } from '../netlink/libc.ts'
import { type AgentStatus, lifelessness, type StatusSource } from './status.ts'

/** How a service is looked after: what systemd hands over in NOTIFY_SOCKET and WATCHDOG_USEC. */
export interface Supervision {
  /** Where it wants to be told that the service is up; undefined: nowhere. */
  readonly socket: string | undefined
  /** It restarts a service that does not say for so long that it lives; undefined: it does not care. */
  readonly watchdogMs: number | undefined
}

/** Between two looks at what there is to tell. */
const LOOK_MS = 5_000
/** `systemctl status` prints it on one line. */
const LONGEST_STATUS = 300

/**
 * Tells systemd how a service of Type=notify does, as sd_notify(3) does: one datagram to the socket that NOTIFY_SOCKET
 * names, `READY=1` for one. Nothing where there is no socket. Throws LibcError where the socket cannot be reached.
 */
export async function notifySupervisor(state: string, socket: string | undefined): Promise<void> {
  if (socket === undefined || socket === '') return
  const libc = await loadLibc()
  libc.sendToUnixSocket(socket, state)
}

/**
 * Until the signal aborts: a STATUS= line when it changes, and WATCHDOG=1 as long as the reconcile loop ends its rounds. A
 * process whose event loop is blocked is silent as well.
 */
export async function keepSupervisorInformed(
  { socket, watchdogMs = Number.POSITIVE_INFINITY }: Supervision,
  source: StatusSource,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  if (socket === undefined) return await sleep(Number.POSITIVE_INFINITY, signal)
  let told: string | undefined
  const tell = async (lines: readonly string[]) => {
    try {
      if (lines.length > 0) await notifySupervisor(lines.join('\n'), socket)
    } catch (error) {
      if (!(error instanceof LibcError)) throw error
      log.debug({ error }, 'systemd cannot be told how this agent does')
    }
  }
  try {
    for (;;) {
      const status = source()
      const line = statusLine(status)
      const isAlive = Number.isFinite(watchdogMs) && lifelessness(status) === undefined
      await tell([...(line === told ? [] : [`STATUS=${line}`]), ...(isAlive ? ['WATCHDOG=1'] : [])])
      told = line
      await sleep(Math.min(LOOK_MS, watchdogMs / 3), signal)
    }
  } finally {
    await tell(['STOPPING=1'])
  }
}

/** What `systemctl status` shows. */
function statusLine({ notReady, lease, peers }: AgentStatus): string {
  const [reason, ...more] = notReady
  const others = more.length === 0 ? '' : ` (and ${more.length} more: twill status)`
  if (reason !== undefined) return `not ready: ${printable(reason, LONGEST_STATUS)}${others}`
  const subnets = lease?.subnets.map(({ prefix }) => prefix).join(' + ')
  return `ready: ${subnets}, ${peers} ${peers === 1 ? 'peer' : 'peers'}`
}
