import type { EtcdCluster, MemberState } from '../../lease/cluster.ts'
import { ExpectedError } from '../../lease/common/errors.ts'
import type { Log } from '../../lease/common/log.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { Troubles } from './embedded_etcd.ts'

const LOOK_MS = 20_000
/** A smaller file is left alone. */
const SMALL_BYTES = 16 * 1024 * 1024
/** etcd answers nothing while it writes these bytes to another file: 2 s on a machine with a load of 10 a core. */
const MOST_IN_USE_BYTES = 64 * 1024 * 1024
/** A file that grows again after that is left at its size until then. */
const AGAIN_MS = 3600_000
const ALARM = 'size'

/**
 * Keeps the data file of this host's etcd small, and gets etcd out of the alarm in which it takes no writes. Old
 * revisions are removed by etcd's own compaction; the space that they leave is given back here.
 */
export async function keepSmall(
  here: EtcdCluster,
  troubles: Troubles,
  log: Log,
  signal: AbortSignal,
): Promise<never> {
  let doneAtMs = Number.NEGATIVE_INFINITY
  for (;;) {
    try {
      const state = await here.state(signal)
      if (state.isFull) await relieve(here, state, troubles, log, signal)
      else troubles.delete(ALARM)
      if (!state.isFull && isMostlyFree(state) && performance.now() - doneAtMs > AGAIN_MS) {
        doneAtMs = performance.now()
        await here.defragment(signal)
        const after = await here.state(signal)
        log.info(
          { bytes: after.bytes, before: state.bytes },
          "etcd's data file was mostly free: made smaller",
        )
      }
    } catch (error) {
      // Whatever keeps etcd from answering is reported by the store, or by what starts etcd again.
      if (signal.aborted || !(error instanceof ExpectedError)) throw error
    }
    await sleep(LOOK_MS, signal)
  }
}

function isMostlyFree({ bytes, bytesInUse }: MemberState): boolean {
  return bytes > SMALL_BYTES && bytesInUse < bytes / 2 && bytesInUse < MOST_IN_USE_BYTES
}

/** All that an operator would do by etcdctl; where it is not enough, only deleting keys helps. */
async function relieve(
  here: EtcdCluster,
  { bytes }: MemberState,
  troubles: Troubles,
  log: Log,
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
