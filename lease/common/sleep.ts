import { WakeUp } from './wake_up.ts'

/** Resolves after `ms`, or never where that is infinite. Rejects with the signal's reason. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new WakeUp().wait(ms, signal)
}
