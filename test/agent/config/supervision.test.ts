import { describe, expect, it } from 'vitest'
import { parseCommandLine } from '../../../agent/config/config.ts'
import type { Env } from '../../../agent/config/flags.ts'

async function watchdogMs(env: Env): Promise<number | undefined> {
  const parsed = await parseCommandLine([], env)
  if (parsed.asks !== 'run') throw new Error(`asks for ${parsed.asks}`)
  return parsed.config.supervision.watchdogMs
}

describe("systemd's watchdog, as sd_watchdog_enabled(3) reads its variables,", () => {
  it('is for this process, or for whichever reads them', async () => {
    expect(await watchdogMs({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: `${process.pid}` })).toBe(60_000)
    expect(await watchdogMs({ WATCHDOG_USEC: '1500' })).toBe(1.5)
  })

  it('is off without them, and where they name another process', async () => {
    expect(await watchdogMs({})).toBeUndefined()
    expect(await watchdogMs({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '1' })).toBeUndefined()
    expect(await watchdogMs({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '' })).toBeUndefined()
  })

  it.each([
    '',
    '0',
    '-1',
    'soon',
    '1e6',
    'Infinity',
    '0x10',
    '18446744073709551615',
    '99999999999999999999999',
  ])('is off for a time that is none: %j', async WATCHDOG_USEC => {
    expect(await watchdogMs({ WATCHDOG_USEC })).toBeUndefined()
  })
})
