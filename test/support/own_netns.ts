import koffi from 'koffi'
import { run } from './exec.ts'

/** #define CLONE_NEWNET 0x40000000 */
const CLONE_NEWNET = 0x40000000

/**
 * Moves this process into a new network namespace, which ends with it; child processes are inside too. Call
 * it before any socket is opened, and on the main thread: only the calling thread moves, so use files of
 * /proc/sys/net synchronously. Needs root, or root of a user namespace (`unshare --user --map-root-user`);
 * returns the reason where it has neither.
 */
export async function enterOwnNetns(): Promise<string | undefined> {
  const unshare = koffi.load('libc.so.6').func('int unshare(int)')
  if (unshare(CLONE_NEWNET) !== 0)
    return `no network namespace of its own (run as root, or under unshare --user --map-root-user): errno ${koffi.errno()}`
  await run(['ip', 'link', 'set', 'lo', 'up'])
  return undefined
}
