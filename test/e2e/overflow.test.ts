import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { memoryOf } from '../support/memory.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('a storm of foreign changes', () => {
  let overlay: OverlayBed
  let agent: Agent
  let host: Host
  let whole: string

  beforeEach(async () => {
    overlay = await overlayBed('storm', ['h1', 'h2'])
    await overlay.configure()
    ;[agent] = (await overlay.startAgents(['--resync=3600'])) as [Agent]
    host = overlay.hosts[0] as Host
    whole = await overlayText(host)
  })
  afterEach(() => overlay.dispose())

  /** On another program's device: 15,000 neighbors come and change, 10 times. */
  const storm = async (rounds: number) => {
    await host.ip(['link add foreign type veth peer name other', 'link set foreign up', 'link set other up'])
    const lines = Array.from({ length: 15_000 }, (_, i) => {
      const address = `198.18.${i >> 8}.${i & 255}`
      return `neigh replace ${address} lladdr 02:00:00:00:00:0`.concat('%', ` dev foreign nud permanent`)
    })
    for (let i = 0; i < rounds; i++) await host.ip(lines.map(line => line.replace('%', `${i % 10}`)))
  }
  const memoryMb = () => memoryOf(agent.process.pid).rss
  const mended = () =>
    until(
      'the overlay to be whole again',
      async () => {
        const lines = (await overlayText(host)).split('\n')
        return lines.filter(line => !line.includes('dev foreign')).join('\n') === whole
      },
      { otherwise: () => agent.process.text().slice(-3000) },
    )
  /** An agent that mends what changes now has heard all that changed before. */
  const over = async () => {
    // ip gives up after ten rounds: the agent may put the neighbors back faster than ip deletes them.
    await host.exec(['sh', '-c', 'ip neigh flush dev flannel.1 nud permanent || true'])
    await mended()
  }
  const passes = () => host.metric('twill_full_passes_total')

  it('that overflows the notification socket ends in a full pass: our entries that changed meanwhile are mended', async () => {
    const before = await passes()
    // Frozen, as an agent is that gets no CPU for seconds.
    agent.process.signal('SIGSTOP')
    await storm(4)
    const route = (await host.routes()).find(line => line.includes('dev flannel.1')) ?? ''
    await host.ip([
      `route del ${route.split(' ')[0]}`,
      'route add 10.244.250.0/24 via 10.244.250.0 dev flannel.1 onlink',
      'neigh flush dev flannel.1 nud permanent',
    ])
    agent.process.signal('SIGCONT')
    await mended()
    expect(agent.process.exit).toBeUndefined()
    await until('the full pass to be counted', async () => (await passes()) > before)
    const repair = await agent.logs(/another program changed the kernel/)
    expect(repair.why).toContain('the notification socket overflowed')
  })

  it('leaves nothing behind in the agent, and costs no pass where it was heard', async () => {
    await storm(1)
    await over()
    const [before, first, begun] = [memoryMb(), await passes(), performance.now()]
    await host.ip(['link delete foreign'])
    await storm(5)
    await over()
    const came = (await passes()) - first
    const seconds = (performance.now() - begun) / 1_000
    // Even where a busy machine lets the socket overflow, the agent makes five passes at once and then one a second.
    expect(came).toBeLessThanOrEqual(6 + seconds)
    await until('the memory to be free again', () => memoryMb() - before < 15, {
      otherwise: () => `${memoryMb() - before} MB more`,
    })
    expect(agent.process.exit).toBeUndefined()
  })
})
