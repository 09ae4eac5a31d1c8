import { runInNewContext } from 'node:vm'
import { loadLibc } from '../netlink/socket/libc.ts'
import { setV8Flags } from './v8_flags.ts'

/**
 * Gives back what only the start needed: the first list of leases, the first pass, the first look at the host, the code that ran
 * once, and the compiler's own memory. V8 would keep about a third of it. Measured on Node.js 24: 20 to 30 ms of CPU time of the main
 * thread, at 10 peers as at 5,000; it waits for V8's helpers besides, which on two cores under a load of 30 made 0.4 s.
 */
export async function releaseStartMemory(): Promise<void> {
  const libc = await loadLibc()
  setV8Flags(['--expose-gc'])
  const collect: unknown = runInNewContext('globalThis.gc')
  // Of all collections this one alone gives up pages and drops code that has not run lately: up to seven full ones in a row.
  if (typeof collect === 'function') collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  libc.releaseFreeMemory()
}
