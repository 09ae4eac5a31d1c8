import { rm, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isUnexpected, messageOf } from '../../lease/common/errors.ts'
import { readWhole, replaceFile } from '../../lease/common/replace_file.ts'
import type { RunCommand } from '../firewall/command.ts'
import { InstallError } from './host_state.ts'
import { paths } from './plan.ts'
import { type Act, printAct, SECRET_MODE, type Step, type Undo, undoOf } from './step.ts'

export interface Executor {
  readonly run: RunCommand
  readonly say: (line: string) => void
  /** Runs the command that ends once the agent is ready. */
  readonly start: (command: readonly string[]) => Promise<void>
}

const ownFolders = new Set(Object.values(paths).map(path => dirname(path)))
ownFolders.delete('/etc/systemd/system')
ownFolders.delete('/etc/sysctl.d')

/** Never aborts: an interruption must not stop an undo half-way. */
const neverAborts = new AbortController().signal

/** If a step fails, undoes those before it, and names what it could not undo. Throws InstallError. */
export async function perform(steps: readonly Step[], how: Executor, signal: AbortSignal): Promise<void> {
  const done: Step[] = []
  const number = (step: Step) => `[${steps.indexOf(step) + 1}/${steps.length}]`
  for (const step of steps) {
    if (step.isDone) continue
    how.say(`${number(step)} ${printAct(step.act)}: ${step.why}`)
    const before = 'path' in step.act ? await readWhole(step.act.path, neverAborts) : undefined
    try {
      signal.throwIfAborted()
      await actOut(step.act, how, signal)
    } catch (error) {
      // A started agent is not stopped: it tries again, and logs what it waits for.
      if (isUnexpected(error) || step.act.kind === 'start') throw error
      const left = await takeBack(undoOf(done), how, neverAborts)
      const rest = left.length === 0 ? 'what was done before is undone' : `not undone: ${left.join('; ')}`
      throw new InstallError(`${printAct(step.act)}: ${messageOf(error)}; ${rest}`, { cause: error })
    }
    done.push(before === undefined ? step : { ...step, undo: [restore(step.act, before)] })
  }
}

function restore(act: Act, text: string): Undo {
  const mode = act.kind === 'write' ? act.mode : SECRET_MODE
  const path = 'path' in act ? act.path : ''
  return { act: { kind: 'write', path, text, mode }, why: 'as it was before' }
}

/** Performs all acts, also after one has failed. Returns what failed, and why. */
export async function takeBack(
  acts: readonly Undo[],
  how: Executor,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const failed: string[] = []
  let isGuarded = false
  for (const { act, why, role } of acts) {
    if (isGuarded && role === 'guarded') continue
    how.say(`${printAct(act)}: ${why}`)
    try {
      await actOut(act, how, signal)
    } catch (error) {
      if (isUnexpected(error)) throw error
      failed.push(`${printAct(act)}: ${messageOf(error)}`)
      isGuarded ||= role === 'guard'
    }
  }
  return failed
}

async function actOut(act: Act, { run, start }: Executor, signal: AbortSignal): Promise<void> {
  switch (act.kind) {
    case 'write':
      return await replaceFile(act.path, act.text, act.mode)
    case 'remove':
      await rm(act.path, { force: true }).catch(cause => {
        throw new InstallError(messageOf(cause), { cause })
      })
      if (ownFolders.has(dirname(act.path))) await rmdir(dirname(act.path)).catch(() => {})
      return
    case 'start':
      return await start(act.command)
    case 'run': {
      const output = await run(act.command, '', signal)
      if (output === 'missing') throw new InstallError(`there is no ${act.command[0]}`)
      if (output.code === 0) return
      const said = (output.stderr.trim() || output.stdout.trim()).replaceAll(/\s*\n\s*/g, '; ')
      throw new InstallError(said || `exit code ${output.code}`)
    }
  }
}
