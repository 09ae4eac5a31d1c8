import { ExpectedError, messageOf, orUndefined } from '../../lease/common/errors.ts'
import { sleep } from '../../lease/common/sleep.ts'
import type { RunCommand } from '../firewall/command.ts'
import { InstallError, showUnit } from './host_state.ts'

const LOOK_MS = 500
/** The agent sends STATUS= to systemd within this time after READY=1. */
const SETTLE_MS = 15_000

/** The agent ended, or is not ready in time. The message contains its last log line or its status. */
export class NotReadyInTimeError extends ExpectedError {
  override name = 'NotReadyInTimeError'
}

interface Waiting {
  readonly run: RunCommand
  readonly progress: (text: string) => void
  readonly withinMs: number
}

/** `systemctl` ends once the agent is ready or has ended. Resolves to its last STATUS=. */
export async function startAndWait(
  command: readonly string[],
  { run, progress, withinMs }: Waiting,
  signal: AbortSignal,
): Promise<string> {
  const timeout = AbortSignal.timeout(withinMs)
  const all = AbortSignal.any([signal, timeout])
  const ended = run(command, '', all).catch(error => error)
  let said = ''
  const look = async () => {
    if (signal.aborted) return
    const { StatusText = '' } = await showUnit('twilld', ['StatusText'], run, signal)
    if (StatusText !== '' && StatusText !== said) progress(StatusText)
    said = StatusText
  }
  let output: Awaited<typeof ended> | undefined
  while (output === undefined && !all.aborted) {
    output = await Promise.race([ended, sleep(LOOK_MS, all).catch(() => undefined)])
    await look()
  }
  output ??= await ended
  if (signal.aborted)
    throw new InstallError(
      `${messageOf(signal.reason)}: the agent continues to start; twill uninstall undoes the installation`,
    )
  if (timeout.aborted) throw notReadyIn(withinMs, said)
  await refuseEnded(output, run, signal)
  const untilMs = performance.now() + SETTLE_MS
  while (!said.startsWith('ready') && performance.now() < untilMs) {
    await sleep(LOOK_MS, signal)
    await look()
  }
  if (!said.startsWith('ready'))
    throw new NotReadyInTimeError(
      `twilld runs, and pods here may not reach their peers: ${said}; see: twill doctor`,
    )
  return said
}

function notReadyIn(withinMs: number, said: string): NotReadyInTimeError {
  return new NotReadyInTimeError(
    `twilld runs and is not ready after ${withinMs / 1000} s: ${said || 'it has not said why'}; it keeps trying: ` +
      'journalctl -fu twilld shows it, twill uninstall undoes the installation',
  )
}

/** Throws InstallError or NotReadyInTimeError if the agent did not start, or started and ended. */
async function refuseEnded(
  output: Awaited<ReturnType<RunCommand>> | Error,
  run: RunCommand,
  signal: AbortSignal,
): Promise<void> {
  if (output instanceof Error) throw new InstallError(messageOf(output), { cause: output })
  if (output === 'missing' || output.code !== 0)
    throw new NotReadyInTimeError(
      `twilld ended: ${await lastLogLine(run, signal)}; fix that, then: systemctl restart twilld`,
    )
}

/** The message of the newest line at level error or warn, else the newest line. */
async function lastLogLine(run: RunCommand, signal: AbortSignal): Promise<string> {
  const command = ['journalctl', '--unit=twilld', '--lines=20', '--output=cat', '--no-pager']
  const output = await run(command, '', signal)
  const lines = output === 'missing' ? [] : output.stdout.split('\n').filter(line => line.trim() !== '')
  const own = lines.flatMap(line => {
    const { level, msg } = Object(orUndefined(() => JSON.parse(line)))
    return (level === 'error' || level === 'warn') && typeof msg === 'string' ? [msg] : []
  })
  return own.at(-1) ?? lines.at(-1) ?? 'journalctl -u twilld says why'
}
