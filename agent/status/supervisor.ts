import type { Log } from '../../lease/common/log.ts'
import { printable } from '../../lease/common/printable.ts'
import { sleep } from '../../lease/common/sleep.ts'
import { LibcError, loadLibc } from '../netlink/socket/libc.ts'
import { type AgentStatus, reasonToRestart, type StatusSource } from './status.ts'

/** How a service is supervised: what systemd sets in NOTIFY_SOCKET and WATCHDOG_USEC. */
export interface Supervision {
  /** Where the supervisor wants READY=1; undefined: nowhere. */
  readonly socket: string | undefined
  /** The supervisor restarts a service without a WATCHDOG=1 for this long; undefined: never. */
  readonly watchdogMs: number | undefined
}

const LOOK_MS = 5_000
/** Longest status: `systemctl status` prints it on one line. */
const LONGEST_STATUS = 300

/** Tells systemd that this node is ready. */
export async function announceReady({ socket }: Supervision, log: Log): Promise<void> {
  try {
    await notifySupervisor('READY=1', socket)
  } catch (error) {
    if (!(error instanceof LibcError)) throw error
    log.warn({}, `Cannot tell systemd that this node is ready: ${error.message}`)
  }
}

/** sd_notify(3) for Type=notify: one datagram to NOTIFY_SOCKET. Throws LibcError. */
async function notifySupervisor(state: string, socket: string | undefined): Promise<void> {
  if (socket === undefined || socket === '') return
  const libc = await loadLibc()
  libc.sendToUnixSocket(socket, state)
}

/** Until the signal aborts. A blocked event loop or a hung round sends no WATCHDOG=1. */
export async function keepSupervisorInformed(
  { socket, watchdogMs = Number.POSITIVE_INFINITY }: Supervision,
  source: StatusSource,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  if (socket === undefined) return await sleep(Number.POSITIVE_INFINITY, signal)
  let sentLine: string | undefined
  const send = async (lines: readonly string[]) => {
    try {
      if (lines.length > 0) await notifySupervisor(lines.join('\n'), socket)
    } catch (error) {
      if (!(error instanceof LibcError)) throw error
      log.debug({ error }, 'cannot send the state of this agent to systemd')
    }
  }
  try {
    for (;;) {
      const status = source()
      const line = statusLine(status)
      const isAlive = Number.isFinite(watchdogMs) && reasonToRestart(status) === undefined
      await send([...(line === sentLine ? [] : [`STATUS=${line}`]), ...(isAlive ? ['WATCHDOG=1'] : [])])
      sentLine = line
      await sleep(Math.min(LOOK_MS, watchdogMs / 3), signal)
    }
  } finally {
    await send(['STOPPING=1'])
  }
}

function statusLine({ notReady, lease, peers }: AgentStatus): string {
  const [reason, ...more] = notReady
  const others = more.length === 0 ? '' : ` (and ${more.length} more: twill status)`
  if (reason !== undefined) return `not ready: ${printable(reason, LONGEST_STATUS)}${others}`
  const subnets = lease?.subnets.map(({ prefix }) => prefix).join(' + ')
  return `ready: ${subnets}, ${peers} ${peers === 1 ? 'peer' : 'peers'}`
}
