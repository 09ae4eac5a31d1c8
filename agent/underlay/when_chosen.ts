import type { Log } from '../../lease/common/log.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { Scope, UnderlaySource } from '../kernel/kernel.ts'
import { type InterfaceWish, type UnderlayChoice, UnderlayError, type UnderlayView } from './underlay.ts'

export interface WhenChosenOptions {
  readonly kernel: UnderlaySource
  readonly scope: Scope
  readonly wish: Pick<InterfaceWish, 'ifaceCanReach'>
  readonly log: Log
  /** Called with the reason while there is nothing to choose. */
  readonly onTrouble: (trouble: string) => void
}

/**
 * The kernel announces no change of a policy rule or of an interface's other names: it is asked again, and
 * answers in a millisecond.
 */
const LOOK_AGAIN_MS = 1_000

/** What the kernel says now. */
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

/**
 * Chooses as soon as `choose` finds an interface, and says once what is missing: at boot the interface may
 * come seconds or minutes after the agent.
 */
export async function whenChosen<T extends UnderlayChoice>(
  { kernel, scope, wish, log, onTrouble }: WhenChosenOptions,
  choose: (view: UnderlayView) => T,
  signal: AbortSignal,
): Promise<T> {
  const said = new Set<string>()
  for (;;) {
    const view = await readUnderlay(kernel, scope, wish, signal)
    try {
      return choose(view)
    } catch (error) {
      if (!(error instanceof UnderlayError)) throw error
      onTrouble(error.message)
      if (!said.has(error.message)) log.error({}, `${error.message}. Waiting for one`)
      said.add(error.message)
    }
    await sleep(LOOK_AGAIN_MS, signal)
  }
}
