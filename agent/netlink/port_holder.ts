import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp prints it. */
const LISTEN = '0A'

/**
 * The process that holds a port of this network namespace: `etcd (process 812)`. Undefined where no process
 * holds it or none is visible: a tunnel of the kernel, or a process of another PID namespace. Synchronous:
 * /proc shows the network namespace of the calling thread. For error messages only: it searches all
 * processes.
 */
export function portHolder(protocol: 'tcp' | 'udp', port: number): string | undefined {
  const sockets = new Set(
    [protocol, `${protocol}6`].flatMap(table => inodesOf(table, port)).map(inode => `socket:[${inode}]`),
  )
  if (sockets.size === 0) return undefined
  for (const pid of list('/proc')) {
    if (
      !/^\d+$/.test(pid) ||
      !list(`/proc/${pid}/fd`).some(fd => sockets.has(target(`/proc/${pid}/fd/${fd}`)))
    )
      continue
    const name = read(`/proc/${pid}/comm`)
      .trim()
      .replaceAll(/[^ -~]/g, '?')
    return `${name === '' ? 'a program' : name} (process ${pid})`
  }
  return undefined
}

/** Columns of proc_net_tcp(5): number, local address, remote address, state, ..., the tenth is the inode. */
function inodesOf(table: string, port: number): readonly string[] {
  const rows = read(`/proc/thread-self/net/${table}`).split('\n').slice(1)
  return rows.flatMap(row => {
    const columns = row.trim().split(/\s+/)
    const [, local = '', , state] = columns
    const isHeld = Number.parseInt(local.split(':')[1] ?? '', 16) === port
    if (!isHeld || (table.startsWith('tcp') && state !== LISTEN)) return []
    const inode = columns[9] ?? '0'
    return inode === '0' ? [] : [inode]
  })
}

function list(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function target(link: string): string {
  try {
    return readlinkSync(link)
  } catch {
    return ''
  }
}
