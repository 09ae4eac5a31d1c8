import type { Log } from '../../lease/common/log.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { Scope, UnderlaySource } from '../kernel/kernel.ts'
import { FirstReports } from './first_reports.ts'
import { type InterfaceWish, type UnderlayChoice, UnderlayError, type UnderlayView } from './underlay.ts'

export interface WhenChosenOptions {
  readonly kernel: UnderlaySource
  readonly scope: Scope
  readonly wish: Pick<InterfaceWish, 'ifaceCanReach'>
  readonly log: Log
  readonly onTrouble: (trouble: string) => void
}

/** The kernel reports no change of a policy rule or alternative name: ask again at this interval. */
const RETRY_MS = 1_000

/** Reads the current interfaces, routes and, where the flag is given, the route to `ifaceCanReach`. */
export async function readUnderlay(
  kernel: UnderlaySource,
  scope: Scope,
  { ifaceCanReach }: Pick<InterfaceWish, 'ifaceCanReach'>,
  signal: AbortSignal,
): Promise<UnderlayView> {
  const facts = {
    interfaces: await kernel.listInterfaces(signal),
    routes: await kernel.listRoutes(scope, signal),
  }
  if (ifaceCanReach === undefined) return facts
  return { ...facts, reach: await kernel.routeTo(ifaceCanReach, signal) }
}

/** Logs once what is missing: at boot the interface can appear minutes after the agent starts. */
export async function whenChosen<T extends UnderlayChoice>(
  { kernel, scope, wish, log, onTrouble }: WhenChosenOptions,
  choose: (view: UnderlayView) => T,
  signal: AbortSignal,
): Promise<T> {
  const reports = new FirstReports()
  for (;;) {
    const view = await readUnderlay(kernel, scope, wish, signal)
    try {
      return choose(view)
    } catch (error) {
      if (!(error instanceof UnderlayError)) throw error
      onTrouble(error.message)
      if (reports.isNew(error.message)) log.error({}, `${error.message}. Waiting for one`)
    }
    await sleep(RETRY_MS, signal)
  }
}
