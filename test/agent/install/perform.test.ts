import { describe, expect, it } from 'vitest'
import { InstallError } from '../../../agent/install/host_state.ts'
import { perform, takeBack } from '../../../agent/install/perform.ts'
import type { Act, Step } from '../../../agent/install/step.ts'

/** Commands that are run, in order; those named `bad` fail. */
function host() {
  const ran: string[] = []
  const said: string[] = []
  const how = {
    run: async (command: readonly string[]) => {
      ran.push(command.join(' '))
      const isBad = command[0] === 'bad'
      return { code: isBad ? 1 : 0, stdout: '', stderr: isBad ? 'it\nfailed\n' : '' }
    },
    say: (line: string) => said.push(line),
    start: async (command: readonly string[]) => {
      ran.push(command.join(' '))
    },
  }
  return { ran, said, how }
}

const act = (...command: readonly string[]): Act => ({ kind: 'run', command })
const step = (name: string, isDone = false): Step => ({
  act: act(name),
  why: `${name} is wanted`,
  isDone,
  undo: [{ act: act('un', name), why: 'it was done' }],
})
const { signal } = new AbortController()

describe('doing the steps', () => {
  it('leaves out what is done, and numbers the rest', async () => {
    const { ran, said, how } = host()
    await perform([step('a', true), step('b')], how, signal)
    expect([ran, said]).toEqual([['b'], ['[2/2] b: b is wanted']])
  })

  it('takes back what was done where one fails, the last first, and nothing else', async () => {
    const { ran, how } = host()
    await expect(perform([step('a', true), step('b'), step('c'), step('bad')], how, signal)).rejects.toThrow(
      'bad: it; failed; what was done before is undone',
    )
    expect(ran).toEqual(['b', 'c', 'bad', 'un c', 'un b'])
  })

  it('takes it back where it is interrupted, to the end', async () => {
    const { ran, how } = host()
    const stop = new AbortController()
    const run = async (command: readonly string[]) => {
      if (command[0] === 'b') stop.abort(new InstallError('interrupted by SIGINT'))
      return await how.run(command)
    }
    await expect(perform([step('a'), step('b'), step('c')], { ...how, run }, stop.signal)).rejects.toThrow(
      'c: interrupted by SIGINT; what was done before is undone',
    )
    expect(ran).toEqual(['a', 'b', 'un b', 'un a'])
  })

  it('names what cannot be taken back', async () => {
    const { how } = host()
    const stubborn = { ...step('a'), undo: [{ act: act('bad', 'undo'), why: 'it was done' }] }
    await expect(perform([stubborn, step('bad')], how, signal)).rejects.toThrow(
      'bad: it; failed; not undone: bad undo: it; failed',
    )
  })
})

describe('taking back', () => {
  const undo = (name: string, role?: 'guard' | 'guarded') => ({
    act: act(name),
    why: 'so',
    ...(role && { role }),
  })

  it('does the rest where one fails, but what that one guards', async () => {
    const { ran, how } = host()
    const acts = [undo('bad', 'guard'), undo('stop'), undo('remove the data', 'guarded'), undo('reload')]
    expect(await takeBack(acts, how, signal)).toEqual(['bad: it; failed'])
    expect(ran).toEqual(['bad', 'stop', 'reload'])
    const well = host()
    await takeBack([undo('leave', 'guard'), undo('remove the data', 'guarded')], well.how, signal)
    expect(well.ran).toEqual(['leave', 'remove the data'])
  })
})
