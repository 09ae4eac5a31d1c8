import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { orUndefined } from '../../lease/common/errors.ts'

/** TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp prints it. */
const LISTEN = '0A'

/**
 * The process that holds a port of this network namespace: `etcd (process 812)`; undefined: none, or none
 * visible (a tunnel, another PID namespace). Synchronous, as /proc shows the calling thread's namespace.
 * Searches all processes: for error messages only.
 */
export function portHolder(protocol: 'tcp' | 'udp', port: number): string | undefined {
  const sockets = new Set(
    [protocol, `${protocol}6`].flatMap(table => inodesOf(table, port)).map(inode => `socket:[${inode}]`),
  )
  if (sockets.size === 0) return undefined
  const pid = readdirSync('/proc').find(name => /^\d+$/.test(name) && holdsOneOf(sockets, name))
  if (pid === undefined) return undefined
  const name = read(`/proc/${pid}/comm`)
    .trim()
    .replaceAll(/[^ -~]/g, '?')
  return `${name === '' ? 'a program' : name} (process ${pid})`
}

function holdsOneOf(sockets: ReadonlySet<string>, pid: string): boolean {
  const directory = `/proc/${pid}/fd`
  const descriptors = orUndefined(() => readdirSync(directory)) ?? []
  return descriptors.some(fd => sockets.has(orUndefined(() => readlinkSync(`${directory}/${fd}`)) ?? ''))
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

function read(file: string): string {
  return orUndefined(() => readFileSync(file, 'utf8')) ?? ''
}
