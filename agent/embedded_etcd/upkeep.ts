import type { EtcdCluster, MemberState } from '../../lease/cluster.ts'
import { ExpectedError } from '../../lease/common/errors.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { Reports } from './embedded_etcd.ts'

const CHECK_MS = 20_000
const SMALL_BYTES = 16 * 1024 * 1024
/** With more bytes in use, etcd would not answer for 2 s and longer while it writes them to another file. */
const MOST_IN_USE_BYTES = 64 * 1024 * 1024
/** Time between two defragmentations of a file that grows again. */
const MIN_INTERVAL_MS = 3600_000
const ALARM = 'size'

/** Gives back the space that etcd's compaction leaves, and clears the alarm in which etcd takes no writes. */
export async function keepSmall(here: EtcdCluster, reports: Reports, signal: AbortSignal): Promise<never> {
  let doneAtMs = Number.NEGATIVE_INFINITY
  for (;;) {
    try {
      const state = await here.state(signal)
      if (state.isFull) await clearAlarm(here, state, reports, signal)
      else reports.troubles.delete(ALARM)
      if (!state.isFull && isMostlyFree(state) && performance.now() - doneAtMs > MIN_INTERVAL_MS) {
        doneAtMs = performance.now()
        await here.defragment(signal)
        const { bytes } = await here.state(signal)
        reports.log.info({ bytes, before: state.bytes }, "etcd's data file was mostly free: made smaller")
      }
    } catch (error) {
      // The store, or the code that restarts etcd, reports why etcd does not answer.
      if (signal.aborted || !(error instanceof ExpectedError)) throw error
    }
    await sleep(CHECK_MS, signal)
  }
}

function isMostlyFree({ bytes, bytesInUse }: MemberState): boolean {
  return bytes > SMALL_BYTES && bytesInUse < bytes / 2 && bytesInUse < MOST_IN_USE_BYTES
}

/** Does what an operator would do with etcdctl. Where that is not enough, only deleting keys helps. */
async function clearAlarm(
  here: EtcdCluster,
  { bytes }: MemberState,
  { log, troubles }: Reports,
  signal: AbortSignal,
): Promise<void> {
  if (!troubles.has(ALARM))
    log.error({ bytes }, 'etcd has reached the size limit of its data and takes no writes: compacting it')
  troubles.set(ALARM, 'etcd has reached the size limit of its data and takes no writes')
  await here.compact(signal)
  await here.defragment(signal)
  const after = await here.state(signal)
  if (after.bytes < bytes * 0.8) {
    await here.disarm(signal)
    troubles.delete(ALARM)
    log.info({ bytes: after.bytes, before: bytes }, 'etcd takes writes again')
    return
  }
  const remedy =
    `etcd takes no writes: ${after.bytes} bytes of live keys have reached its size limit. Keys of another program fill it: delete them ` +
    '(etcdctl get --prefix --keys-only "" lists all); the agent then clears the alarm'
  if (troubles.get(ALARM) !== remedy) log.error({}, remedy)
  troubles.set(ALARM, remedy)
}
