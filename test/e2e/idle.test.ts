import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const IDLE_MS = 60_000

describe.skipIf(why !== undefined)('two agents with nothing to do', () => {
  let overlay: OverlayBed
  let agents: readonly Agent[]

  beforeAll(async () => {
    overlay = await overlayBed('idle', ['h1', 'h2'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    agents = await overlay.startAgents(['--ip-masq', '--resync=5', '--log-format=text'])
  })
  afterAll(() => overlay?.dispose())

  it('log no line in a minute, though each looks at everything all the time', {
    timeout: 180_000,
  }, async () => {
    await Promise.all(agents.map(agent => agent.logs(/peer joined/)))
    const lines = () => agents.map(agent => agent.log().length)
    // The start has its last words, whenever a busy machine comes to them.
    let before = lines()
    await until(
      'the start to be over',
      () => {
        const last = before
        before = lines()
        return before.join() === last.join()
      },
      { everyMs: 3_000 },
    )
    await new Promise(resolve => setTimeout(resolve, IDLE_MS))
    expect(lines()).toEqual(before)
  })
})
