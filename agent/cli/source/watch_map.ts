import type { Log } from '../../../lease/common/log.ts'
import type { StoreOptions } from '../../../lease/options.ts'
import type { LeaseStore } from '../../../lease/store.ts'
import { type SubnetMap, subnetMap } from '../../map/subnet_map.ts'
import type { Output } from '../output/output.ts'
import { askStore } from './read_store.ts'

/** xterm: the alternate screen, to bring back the shell's text afterwards; home, and clear to the end. */
const screen = { enter: '\x1b[?1049h\x1b[?25l', leave: '\x1b[?25h\x1b[?1049l', home: '\x1b[H\x1b[J' }

export interface WatchedStore {
  readonly kind: StoreOptions['kind']
  readonly open: (log: Log) => Promise<LeaseStore>
}

/** Prints the map again on each lease change, until SIGINT or SIGTERM; then restores the terminal. */
export async function watchMap(
  { kind, open }: WatchedStore,
  timeoutMs: number,
  print: (found: SubnetMap, changed: ReadonlySet<string>) => string,
  out: Output,
): Promise<void> {
  const stop = new AbortController()
  const end = () => stop.abort(new Error('Ctrl-C'))
  process.once('SIGINT', end).once('SIGTERM', end)
  const terminal = out.isTTY === true
  if (terminal) out.write(screen.enter)
  try {
    await askStore(open, timeoutMs, async (store, says, signal) => {
      says('read the network config')
      const network = await store.networkConfig(AbortSignal.any([signal, stop.signal]))
      says('read the leases')
      let first = true
      for await (const leases of store.watch(stop.signal)) {
        const changed = first ? new Set<string>() : leases.changed
        const text = print(subnetMap({ network, leases }, kind), changed)
        out.write(terminal ? screen.home + text : text)
        first = false
      }
    })
  } catch (error) {
    if (!stop.signal.aborted) throw error
  } finally {
    process.off('SIGINT', end).off('SIGTERM', end)
    if (terminal) out.write(screen.leave)
  }
}
