import { beforeEach, describe, expect, it } from 'vitest'
import type { Round } from '../../../../agent/reconcile/round.ts'
import type { Result } from '../../../../agent/state/operation.ts'
import { entryKey } from '../../../../agent/state/print.ts'
import { RoundLog } from '../../../../agent/status/log/round_log.ts'
import { entry } from '../../../support/entries.ts'
import { RecordingLog } from '../../../support/log.ts'

const route = (n: number) => entry(`route 10.1.${n}.0/24 via 192.168.0.${n} dev eth0 proto 117`)
const refused = (n: number, words = 'Nexthop has invalid gateway (EINVAL)'): Result => ({
  operation: { verb: 'add', entry: route(n) },
  error: new Error(`Cannot add route ${n}: ${words}`),
})
const added = (n: number): Result => ({ operation: { verb: 'add', entry: route(n) }, error: undefined })

describe('the log of rounds', () => {
  let log: RecordingLog
  let rounds: RoundLog
  beforeEach(() => {
    log = new RecordingLog()
    rounds = new RoundLog(log)
  })

  const write = (
    results: readonly Result[],
    {
      drift = [],
      contested = [],
      ...more
    }: { drift?: string[]; contested?: string[]; fullPass?: string } = {},
  ) => {
    const round: Round = {
      fullPass: undefined,
      results,
      durationMs: 1.4,
      contested: new Set(contested),
      ...more,
      drift: new Set(drift),
    }
    const failing = results.filter(({ error }) => error).map(({ operation }) => entryKey(operation.entry))
    rounds.write(round, new Map(failing.map(key => [key, true])))
  }
  const said = () =>
    log.lines.filter(({ level }) => level !== 'debug').map(({ level, message }) => `${level} ${message}`)

  it('is silent about what was wanted and done', () => {
    write([added(1), added(2)])
    expect(said()).toEqual([])
    expect(log.lines[0]?.fields).toEqual({
      operation: 'add route 10.1.1.0/24 via 192.168.0.1 dev eth0 proto 117',
    })
  })

  it('says once that the first pass is done', () => {
    write([added(1)], { fullPass: 'start' })
    write([], { fullPass: 'resync' })
    expect(said()).toEqual(['info the kernel is as desired'])
  })

  it('does not say that the kernel is as desired while it refuses something', () => {
    write([added(1), refused(2)], { fullPass: 'start' })
    expect(said()).toEqual(['error the kernel refuses: tried again with back-off'])
  })

  it('says what another program changed, and what stood there instead', () => {
    const was = entry('route 10.1.1.0/24 via 192.168.0.99 dev eth0 proto 117')
    write([{ operation: { verb: 'replace', entry: route(1), was }, error: undefined }], {
      drift: [entryKey(route(1))],
    })
    expect(log.lines.at(-1)).toMatchObject({
      level: 'warn',
      message: 'another program changed the kernel: repaired',
      fields: {
        entries: 1,
        ms: 1,
        why: undefined,
        repaired: 1,
        operations: [
          'replace route 10.1.1.0/24 via 192.168.0.1 dev eth0 proto 117 (was: route 10.1.1.0/24 via 192.168.0.99 dev eth0 proto 117)',
        ],
      },
    })
  })

  it("says a refusal once, in the kernel's words, again in other words, and when it is over", () => {
    write([refused(1)])
    write([refused(1)])
    write([refused(1, 'Network is unreachable (ENETUNREACH)')])
    write([added(1)])
    expect(said()).toEqual([
      'error the kernel refuses: tried again with back-off',
      'error the kernel refuses: tried again with back-off',
      'info the kernel no longer refuses this entry',
    ])
    expect(log.lines[0]?.fields).toMatchObject({
      error: { message: 'Cannot add route 1: Nexthop has invalid gateway (EINVAL)' },
    })
  })

  it('is one line for each cause, which names ten more entries and counts all', () => {
    const down = (code: string) => `disable_ipv6 is 1: set it to 0; the kernel says ${code} (${code})`
    const six = Array.from({ length: 200 }, (_, n) => refused(n, down(n % 2 ? 'EACCES' : 'EINVAL')))
    write([...six, refused(200)])
    expect(said()).toEqual(Array(2).fill('error the kernel refuses: tried again with back-off'))
    expect(log.lines[0]?.fields).toMatchObject({
      operation: 'add route 10.1.0.0/24 via 192.168.0.0 dev eth0 proto 117',
      entries: 200,
    })
    expect(log.lines[0]?.fields).toHaveProperty('alike.length', 10)
    write([])
    expect(said().slice(2)).toEqual(Array(2).fill('info the kernel no longer refuses this entry'))
  })

  it('names ten of many causes', () => {
    write(Array.from({ length: 200 }, (_, n) => refused(n, `cause ${n}`)))
    expect(said()).toHaveLength(11)
    write([])
    expect(said()).toHaveLength(22)
  })

  it('forgets what is no longer desired', () => {
    write([refused(1)])
    write([added(2)])
    write([refused(1)])
    expect(said().filter(line => line.startsWith('error'))).toHaveLength(2)
  })
})
