import { ExpectedError } from '../lease/common/errors.ts'
import { runTogether } from '../lease/common/tasks.ts'
import { LeaseLostError } from '../lease/store.ts'
import { Agent } from './agent.ts'
import { type AgentConfig, parseCommandLine } from './config/config.ts'
import { FlagError } from './config/go_flags.ts'
import { ConfigError } from './config/values.ts'
import { type ExitCode, exitCode } from './exit_code.ts'
import { requireNetAdmin } from './kernel/capability.ts'
import { KernelTrace } from './kernel/kernel_trace.ts'
import { NetlinkKernel } from './kernel/netlink_kernel.ts'
import { loadLibc } from './netlink/socket/libc.ts'
import { endProcess, endWhereOutputFails } from './runtime/end_process.ts'
import { readCgroupMemory } from './status/cgroup_memory.ts'
import { serveLocalApi } from './status/http/local_api.ts'
import { nodeApi, nodeDetails } from './status/http/node_api.ts'
import { serveStatus } from './status/http/server.ts'
import { createLogger } from './status/log/logger.ts'
import { MemoryWatch } from './status/memory_watch.ts'
import { heedSignals } from './status/signals.ts'
import { keepSupervisorInformed } from './status/supervisor.ts'
import { version } from './version.ts'

async function main(): Promise<ExitCode> {
  try {
    const command = await parseCommandLine(process.argv.slice(2), process.env)
    if (command.asks === 'run') return await run(command.config)
    endWhereOutputFails('twilld')
    process.stdout.write(command.asks === 'version' ? `${version}\n` : command.text)
    return await endProcess('twilld', exitCode.stopped)
  } catch (error) {
    if (!(error instanceof FlagError || error instanceof ConfigError)) throw error
    process.stderr.write(`twilld: ${error.message}\nRun 'twilld --help' for the flags.\n`)
    return error instanceof FlagError ? exitCode.badFlag : exitCode.startUp
  }
}

/** For developers: TWILL_DEBUG=netlink prints each netlink request and the kernel's answer on stderr. */
function kernelTrace(): KernelTrace | undefined {
  const isAsked = process.env.TWILL_DEBUG?.split(',').includes('netlink') ?? false
  return isAsked ? new KernelTrace(line => process.stderr.write(`netlink ${line}\n`)) : undefined
}

async function run(config: AgentConfig): Promise<ExitCode> {
  const log = createLogger(config.log)
  process.removeAllListeners('warning').on('warning', error => log.debug({ error }, 'warning of Node.js'))
  log.info({ version, pid: process.pid }, 'twilld starts')
  log.info({ settings: config.settings }, 'effective settings, with where each came from')
  for (const note of config.notes) log.info({}, note)
  for (const warning of config.warnings) log.warn({}, warning)
  const stop = new AbortController()
  try {
    requireNetAdmin()
    // By default glibc keeps up to 64 MB of free memory, depending on the largest block that was ever freed.
    const libc = await loadLibc()
    libc.trimHeapAbove(128 * 1024)
    const kernel = await NetlinkKernel.open({ txChecksum: config.txChecksum, trace: kernelTrace() })
    const memory = new MemoryWatch({ read: readCgroupMemory, release: () => libc.releaseFreeMemory(), log })
    const agent = new Agent(config, kernel, memory, log)
    heedSignals({ log, stop: signal => stop.abort(signal), refresh: reason => agent.refresh(reason) })
    const { healthz, localSocket, supervision } = config
    const status = () => agent.status()
    const tasks = [
      (all: AbortSignal) => agent.run(all),
      (all: AbortSignal) => keepSupervisorInformed(supervision, status, log, all),
      (all: AbortSignal) => memory.run(all),
    ]
    const details = nodeDetails(agent, config.healthzDetails)
    if (healthz !== undefined) tasks.push(all => serveStatus(healthz, status, details, log, all))
    if (localSocket !== undefined)
      tasks.push(all => serveLocalApi(localSocket, nodeApi(agent, log), log, all))
    await runTogether(stop.signal, tasks).finally(() => kernel.close())
    log.info(
      { why: `${stop.signal.reason}` },
      'twilld stops: the kernel keeps its entries, traffic continues',
    )
    return exitCode.stopped
  } catch (error) {
    if (!(error instanceof ExpectedError)) {
      log.error({ error }, 'unexpected error: twilld ends')
      return exitCode.unexpected
    }
    log.error({}, error.message)
    return error instanceof LeaseLostError ? exitCode.leaseLost : exitCode.startUp
  }
}

/**
 * An exception or rejection that no task has caught is a defect, which exit code 70 names: Node.js itself
 * would exit with 1, which means a failed start.
 */
process.on('uncaughtException', error => {
  try {
    createLogger({ level: 'info' }).error({ error }, 'unexpected error: twilld ends')
  } catch {
    process.stderr.write(`twilld: unexpected error: ${error.stack}\n`)
  }
  process.exit(exitCode.unexpected)
})

process.exit(await main())
