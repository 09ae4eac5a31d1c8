import { describe, expect, it } from 'vitest'
import { InstallError } from '../../../agent/install/host_state.ts'
import { NotReadyInTimeError, startAndWait } from '../../../agent/install/ready.ts'

type Answer = { code: number; stdout: string; stderr: string }
const answer = (stdout = '', code = 0): Answer => ({ code, stdout, stderr: '' })
const start = ['systemctl', 'start', 'twilld']

/** A systemd whose `systemctl start` ends by `started`, and whose unit says the statuses in turn, the last one again and again. */
function systemd(started: (signal: AbortSignal) => Promise<Answer>, statuses: readonly string[], log = '') {
  const said: string[] = []
  const left = [...statuses]
  const run = async (command: readonly string[], _: string, signal: AbortSignal): Promise<Answer> => {
    if (command === start) return await started(signal)
    if (command[0] === 'journalctl') return answer(log)
    const [status = ''] = left.length > 1 ? left.splice(0, 1) : left
    return answer(`StatusText=${status}\n`)
  }
  const progress = (text: string) => void said.push(text)
  return { said, waiting: { run, progress, withinMs: 60_000 } }
}

const isStarted = async () => answer()
/** Rejects with the signal's reason, as a command does that is killed. */
const hangs = (signal: AbortSignal) =>
  new Promise<Answer>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
const { signal } = new AbortController()

describe('starting the agent', () => {
  it('tells each new status until the agent is ready', async () => {
    const { said, waiting } = systemd(isStarted, [
      'waiting for a lease',
      'waiting for a lease',
      'ready: 2 peers',
    ])
    expect(await startAndWait(start, waiting, signal)).toBe('ready: 2 peers')
    expect(said).toEqual(['waiting for a lease', 'ready: 2 peers'])
  })

  it('ends when its time is over, with the last status, and leaves the agent running', async () => {
    const { waiting } = systemd(hangs, ['not ready: out of subnets'])
    const late = startAndWait(start, { ...waiting, withinMs: 200 }, signal)
    await expect(late).rejects.toThrow(NotReadyInTimeError)
    await expect(late).rejects.toThrow(
      /^twilld runs and is not ready after 0.2 s: not ready: out of subnets; it keeps trying: journalctl -fu twilld/,
    )
  })

  it('says so where an agent that is late has not said anything', async () => {
    const { waiting } = systemd(hangs, [''])
    await expect(startAndWait(start, { ...waiting, withinMs: 200 }, signal)).rejects.toThrow(
      'is not ready after 0.2 s: it has not said why; ',
    )
  })

  it('names the last error of an agent that ended, not the last line', async () => {
    const log =
      '{"level":"error","msg":"port 8472 is taken"}\n{"level":"info","msg":"twilld ends"}\nStopped twilld\n'
    const { waiting } = systemd(async () => answer('', 1), [''], log)
    await expect(startAndWait(start, waiting, signal)).rejects.toThrow(
      'twilld ended: port 8472 is taken; fix that, then: systemctl restart twilld',
    )
  })

  it('ends where it is interrupted, and says that the agent continues to start', async () => {
    const { waiting } = systemd(hangs, ['waiting for a lease'])
    const stop = new AbortController()
    const progress = () => stop.abort(new InstallError('interrupted by SIGINT'))
    await expect(startAndWait(start, { ...waiting, progress }, stop.signal)).rejects.toThrow(
      'interrupted by SIGINT: the agent continues to start; twill uninstall undoes the installation',
    )
  })
})
