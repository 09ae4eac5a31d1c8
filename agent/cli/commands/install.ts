import { printable } from '../../../lease/common/printable.ts'
import { shellQuote } from '../../../lease/common/shell_quote.ts'
import type { NetworkConfig } from '../../../lease/network_config/network_config.ts'
import { parseNetworkConfig } from '../../../lease/network_config/parser.ts'
import type { AgentConfig } from '../../config/config.ts'
import { allFlags } from '../../config/flags.ts'
import { bool, parseGoFlags, seconds, string } from '../../config/go_flags.ts'
import type { Finding } from '../../diagnose/doctor/finding.ts'
import { exitCode } from '../../exit_code.ts'
import { runCommand } from '../../firewall/command.ts'
import { hasSystemd, InstallError, readHostState, showUnit } from '../../install/host_state.ts'
import { perform } from '../../install/perform.ts'
import { foreign, type HostState, installPlan, paths } from '../../install/plan.ts'
import { NotReadyInTimeError, startAndWait } from '../../install/ready.ts'
import { printStep, type Step } from '../../install/step.ts'
import { readRecord } from '../../install/unit_text.ts'
import { requireNetAdmin } from '../../kernel/capability.ts'
import type { Command } from '../definition/command.ts'
import {
  type AskedFor,
  askedFor,
  installWish,
  twilldCommand,
  unitEnvironment,
} from '../install/install_wish.ts'
import { nextHost } from '../install/next_host.ts'
import { isFirstHost, obstacle, preflight, printObstacle } from '../install/preflight.ts'
import { serviceConfig } from '../install/service_config.ts'
import type { Output } from '../output/output.ts'
import { ProgressLine } from '../output/progress_line.ts'
import { readStore } from '../source/read_store.ts'

const { version: _version, 'embedded-etcd': _embedded, ...passedOn } = allFlags

const flags = {
  'first-host': bool(false, 'the first host of a network: the agent runs etcd, and the next hosts join it'),
  ...passedOn,
  join: string('', 'the join token that the first host printed, a file with it, or the address of an etcd'),
  docker: bool(false, 'containers of Docker too: a drop-in for docker.service'),
  'dry-run': bool(false, 'print what would be done, and why'),
  wait: seconds(120, 1, 'seconds to wait until the agent is ready'),
}

/** Written to the first host's etcd where it has no network config. */
const DEFAULT_NETWORK = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'
const STORE_MS = 15_000
/** Longest error, in characters: it contains the agent's last log line. */
const MESSAGE = 4_000

/** `twill install`: makes this host a node of the network; all flags of twilld are for its service. */
export const install: Command = {
  flags,
  readsStore: false,
  async run(words, context) {
    const { values } = parseGoFlags(flags, words)
    const stop = new AbortController()
    const interrupt = (name: string) => stop.abort(new InstallError(`interrupted by ${name}`))
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
    try {
      const { steps, config, env } = await prepare(words, values.docker, context.err, stop.signal)
      if (values['dry-run']) {
        const open = steps.filter(({ isDone }) => !isDone)
        context.out.write(open.map(printStep).join('') || 'All is done: nothing would be changed\n')
        return exitCode.stopped
      }
      const say = await performHere(steps, values.wait * 1000, context.out, stop.signal)
      if (values.docker) say('Docker takes the subnet at its next start: systemctl restart docker')
      say(`The next host, as root: ${await nextHost(config, words, env)}`)
      return exitCode.stopped
    } catch (error) {
      if (!(error instanceof NotReadyInTimeError)) throw error
      context.err.write(`twill: ${printable(error.message, MESSAGE)}\n`)
      return exitCode.notReady
    } finally {
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
    }
  },
}

/** Checks all that can be checked, and makes the plan. Changes nothing. */
async function prepare(words: readonly string[], docker: boolean, err: Output, signal: AbortSignal) {
  const asked = askedFor(words)
  if (!hasSystemd()) throw new InstallError(withoutSystemd(asked))
  requireNetAdmin()
  const host = await readHostState(asked.flags, runCommand, signal)
  refuseForeign(host, docker)
  const { values: env, warnings } = await unitEnvironment(host)
  for (const warning of warnings) err.write(`twill: warning: ${printable(warning, MESSAGE)}\n`)
  const config = await serviceConfig(asked, env)
  const network = await networkOf(config)
  if (docker) await requireDocker(signal)
  // A running agent checks its host itself.
  if (!host.service.isActive) await check(config, network, err, signal)
  const wish = { ...(await installWish(asked, network, host)), docker }
  return { config, env, steps: installPlan(wish, host, readRecord(host.files.get(paths.dropIn))) }
}

/** Performs the steps and shows the progress. Returns a function that prints a line. */
async function performHere(steps: readonly Step[], withinMs: number, out: Output, signal: AbortSignal) {
  const line = new ProgressLine(out)
  const say = (text: string) => line.write(text)
  const waiting = { run: runCommand, progress: (text: string) => line.show(text), withinMs }
  const start = async (command: readonly string[]) => say(await startAndWait(command, waiting, signal))
  try {
    await perform(steps, { run: runCommand, say, start }, signal)
  } finally {
    line.end()
  }
  if (steps.every(({ isDone }) => isDone)) say('All is done already: nothing was changed')
  return say
}

function withoutSystemd({ judged }: AskedFor): string {
  const command = shellQuote(...twilldCommand(), ...judged)
  return `There is no systemd here that could run the agent: let the service manager of this host, or of its container, run as root: ${command}`
}

/** Throws InstallError if another program's file is where `twill install` would write one. */
function refuseForeign(host: HostState, docker: boolean): void {
  const ours = [paths.dropIn, paths.sysctl, ...(docker ? [paths.docker] : [])]
  const path = ours.find(one => foreign(host, one) !== undefined)
  if (path !== undefined)
    throw new InstallError(`${path} was not written by twill install: move it away, or take its name`)
}

async function requireDocker(signal: AbortSignal): Promise<void> {
  const { LoadState } = await showUnit('docker', ['LoadState'], runCommand, signal)
  if (LoadState !== 'loaded')
    throw new InstallError('There is no docker.service here: install Docker first, or leave --docker out')
}

async function networkOf(config: AgentConfig): Promise<NetworkConfig> {
  if (isFirstHost(config)) return parseNetworkConfig(DEFAULT_NETWORK)
  return (await readStore(config.store, STORE_MS, 0)).network
}

/** Prints all obstacles. Throws InstallError if one is `broken`. */
async function check(config: AgentConfig, network: NetworkConfig, err: Output, signal: AbortSignal) {
  const findings = [...(await otherAgents(signal)), ...(await preflight(config, network, signal))]
  for (const finding of findings) err.write(`twill: ${printObstacle(finding)}\n`)
  const blocking = findings.filter(({ severity }) => severity === 'broken').length
  if (blocking > 0)
    throw new InstallError(`Nothing was changed: fix the problems above (${blocking}), then run this again`)
}

async function otherAgents(signal: AbortSignal): Promise<readonly Finding[]> {
  const { ActiveState = '' } = await showUnit('flanneld', ['ActiveState'], runCommand, signal)
  if (ActiveState !== 'active') return []
  const what = 'flanneld runs here, and two agents cannot have one device'
  const remedy = 'systemctl disable --now flanneld: traffic continues, and twilld takes it over'
  return [obstacle('flanneld', what, 'flanneld.service is active', remedy)]
}
