import type { Log } from '../../lease/common/log.ts'

export interface SignalActions {
  readonly log: Log
  readonly stop: (signal: string) => void
  /** Checks all of the kernel, the firewall and the files. */
  readonly refresh: (reason: string) => void
}

/** Signals with which operators and supervisors stop a service. */
const stopping = ['SIGINT', 'SIGTERM'] as const
/** Their default action would end the agent, which never needs them. */
const ending = [
  'SIGQUIT',
  'SIGUSR2',
  'SIGALRM',
  'SIGVTALRM',
  'SIGPROF',
  'SIGPWR',
  'SIGXCPU',
  'SIGSTKFLT',
  'SIGIO',
] as const

/**
 * Handles signals (signal(7)).
 *
 * - SIGHUP makes other daemons read their config file again. The agent has none, and starts a full check.
 * - SIGUSR1 would open Node.js' debugger to every process of this network namespace: a listener prevents it.
 * - SIGXFSZ reports a file larger than RLIMIT_FSIZE. The agent ignores it: the write fails with EFBIG as
 *   well.
 * - A signal that ends the agent is logged and then takes its default action, so that a supervisor sees it.
 * - SIGABRT has no handler: systemd sends it to an agent that hangs, which could not handle it.
 */
export function heedSignals({ log, stop, refresh }: SignalActions): void {
  for (const signal of stopping) process.once(signal, () => stop(signal))
  process.on('SIGHUP', () => {
    log.info({}, 'SIGHUP: checking kernel entries, firewall and files')
    refresh('SIGHUP')
  })
  process.on('SIGUSR1', () => log.info({}, 'SIGUSR1 is ignored: it means nothing to twilld'))
  process.on('SIGXFSZ', () => {})
  for (const signal of ending)
    process.once(signal, () => {
      log.error({ signal }, `${signal}: twilld ends, the kernel keeps its entries`)
      process.kill(process.pid, signal)
    })
}
