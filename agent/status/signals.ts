import type { Log } from '../../lease/common/log.ts'

export interface SignalActions {
  readonly log: Log
  readonly stop: (signal: string) => void
  /** Looks at all of the kernel, the firewall and the files. */
  readonly refresh: (reason: string) => void
}

/** What an operator or a supervisor sends to stop a service. */
const stopping = ['SIGINT', 'SIGTERM'] as const
/** Their default action would end the agent: nothing that it does asks for them. */
const ending = ['SIGQUIT', 'SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGPWR', 'SIGXCPU', 'SIGSTKFLT'] as const

/**
 * Listens to signals (signal(7)). SIGHUP means a look at everything, as daemons read it, since there is no file to read again.
 * Node.js would open its debugger at SIGUSR1, for every process of this network namespace: a listener keeps it from that. A
 * signal that ends the agent is logged first, and then does as it would have done: a supervisor sees it. SIGXFSZ comes where a
 * file outgrows RLIMIT_FSIZE: the write fails with EFBIG, which is enough.
 */
export function heedSignals({ log, stop, refresh }: SignalActions): void {
  for (const signal of stopping) process.once(signal, () => stop(signal))
  process.on('SIGHUP', () => {
    log.info({}, 'SIGHUP: looking at everything')
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
