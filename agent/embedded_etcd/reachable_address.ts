import type { Log } from '../../lease/common/log.ts'
import type { Family, Ip } from '../../lease/net/ip.ts'
import type { AgentConfig } from '../config/config.ts'
import type { UnderlaySource } from '../kernel/kernel.ts'
import { TWILL_PROTOCOL } from '../state/ownership.ts'
import {
  chooseUnderlay,
  type UnderlayChoice,
  UnderlayError,
  type UnderlayView,
  type UnderlayWish,
} from '../underlay/underlay.ts'
import { whenChosen } from '../underlay/when_chosen.ts'

/** Chosen before a network config says which family is used. Waits until an interface can be chosen. */
export async function reachableAddress(
  config: AgentConfig,
  kernel: UnderlaySource,
  log: Log,
  signal: AbortSignal,
): Promise<Ip> {
  const wish = { ...config.interfaces, publicIps: config.publicIps }
  const scope = { devices: [], routeProtocol: TWILL_PROTOCOL }
  const choose = (view: UnderlayView) => chooseFirst([['ipv4'], ['ipv6']], view, wish)
  const choice = await whenChosen({ kernel, scope, wish, log, onTrouble: () => {} }, choose, signal)
  const [local] = choice.localIps
  if (local === undefined) throw new UnderlayError('Cannot find an address for the embedded etcd')
  return local
}

function chooseFirst(
  families: readonly (readonly Family[])[],
  view: UnderlayView,
  wish: UnderlayWish,
): UnderlayChoice {
  const failures: UnderlayError[] = []
  for (const family of families) {
    try {
      return chooseUnderlay(family, view, wish)
    } catch (error) {
      if (!(error instanceof UnderlayError)) throw error
      failures.push(error)
    }
  }
  throw failures[0] ?? new UnderlayError('Cannot choose an external interface: no family was asked for')
}
