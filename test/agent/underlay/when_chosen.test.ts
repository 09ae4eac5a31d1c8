import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { UnderlaySource } from '../../../agent/kernel/kernel.ts'
import { type UnderlayChoice, UnderlayError } from '../../../agent/underlay/underlay.ts'
import { whenChosen } from '../../../agent/underlay/when_chosen.ts'
import { RecordingLog } from '../../support/log.ts'

const { signal } = new AbortController()
const kernel: UnderlaySource = {
  listInterfaces: async () => [],
  listRoutes: async () => [],
  routeTo: async () => undefined,
}
const scope = { devices: [], routeProtocol: 117 }

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

it('logs what is missing once, and of ever new texts only the first, but reports each as the trouble', async () => {
  const log = new RecordingLog()
  const troubles: string[] = []
  const options = {
    kernel,
    scope,
    wish: { ifaceCanReach: undefined },
    log,
    onTrouble: (text: string) => troubles.push(text),
  }
  let tries = 0
  const choose = () => {
    if (tries++ < 500) throw new UnderlayError(`no interface among fd00::${Math.ceil(tries / 2)}`)
    return {} as UnderlayChoice
  }
  const chosen = whenChosen(options, choose, signal)
  await vi.advanceTimersByTimeAsync(600_000)
  await chosen
  expect(troubles).toHaveLength(500)
  expect(new Set(troubles).size).toBe(250)
  expect(log.lines).toHaveLength(50)
  expect(log.lines[0]?.message).toBe('no interface among fd00::1. Waiting for one')
})
