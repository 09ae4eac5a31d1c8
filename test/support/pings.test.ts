import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bed, whyNoBed } from './bed.ts'
import { run } from './exec.ts'
import type { Host } from './host.ts'
import { lostWhile } from './pings.ts'
import { until } from './until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('pings every millisecond', () => {
  let bed: Bed
  let [h1, h2]: Host[] = []
  beforeEach(async () => {
    bed = await Bed.create()
    const lan = await bed.segment('lan', ['192.168.50.0/24'])
    ;[h1, h2] = [await bed.host('h1', lan), await bed.host('h2', lan)]
    await h1.ping(h2.address())
  })
  afterEach(() => bed.dispose())

  const ways = () => [[h1 as Host, h2?.address() ?? '']] as const

  it('are all answered where nothing is done', async () => {
    expect(await lostWhile(ways())).toEqual([])
  })

  it('tell of a loss that is over at once', async () => {
    const drop = (verb: string) => h2?.exec(['iptables', verb, 'INPUT', '-p', 'icmp', '-j', 'DROP'])
    const dropped = async () => (await h2?.exec(['iptables', '-nvxL', 'INPUT'])) ?? ''
    const lost = await lostWhile(ways(), async () => {
      await drop('-A')
      // A busy machine may send no ping for a while.
      await until('a ping to be dropped', async () => /^ *[1-9]\d* .* DROP /m.test(await dropped()))
      await drop('-D')
    })
    expect(lost).toEqual([
      expect.stringMatching(/^h1 to 192\.168\.50\.12: \d+ of \d+ pings lost, from the \d+th to the \d+th$/),
    ])
  })

  it('end with what is done where that fails', async () => {
    await expect(lostWhile(ways(), () => Promise.reject(new Error('refused')))).rejects.toThrow('refused')
    expect(await run(['ip', 'netns', 'pids', h1?.netns ?? ''])).toBe('')
  })
})
