import { loadLibc } from '../netlink/libc.ts'

/**
 * Tells systemd how a service of Type=notify does, as sd_notify(3) does: one datagram to the socket that NOTIFY_SOCKET
 * names, `READY=1` for one. Nothing where nobody asked. Throws LibcError where the socket cannot be reached.
 */
export async function notifySupervisor(state: string, socket: string | undefined): Promise<void> {
  if (socket === undefined || socket === '') return
  const libc = await loadLibc()
  libc.sendToUnixSocket(socket, state)
}
