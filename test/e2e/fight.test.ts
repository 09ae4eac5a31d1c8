import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import { mapBounded } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const PEERS = 200
const TIMES = 8
/** The agent counts repairs less than 100 ms apart as one. */
const APART_MS = 120

describe.skipIf(why !== undefined)('a program that undoes the entries of 200 peers again and again', () => {
  let overlay: OverlayBed
  let agent: Agent
  let host: Host
  let whole: string

  beforeEach(async () => {
    overlay = await overlayBed('fight', ['h1'])
    await overlay.configure({ Network: '10.0.0.0/8', SubnetLen: 24, Backend: { Type: 'vxlan' } })
    await mapBounded(
      Array.from({ length: PEERS }, (_, n) => n),
      8,
      n =>
        overlay.etcd.ctl(
          'put',
          `/coreos.com/network/subnets/10.99.${n}.0-24`,
          `{"PublicIP":"192.168.60.${n + 1}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:${n.toString(16).padStart(2, '0')}"}}`,
        ),
    )
    ;[agent] = (await overlay.startAgents(['--resync=5'])) as [Agent]
    host = overlay.hosts[0] as Host
    whole = await overlayText(host)
    expect(whole.match(/^.* onlink/gm)).toHaveLength(PEERS)
  })
  afterEach(() => overlay.dispose())

  it('costs a few lines for each kind of entry, whatever their number, and one when it ends', async () => {
    const before = agent.log().length
    const acts = [
      'bridge fdb flush dev flannel.1 || true; ip neigh flush dev flannel.1 nud permanent || true',
      'ip route flush dev flannel.1 proto boot || true',
      'ip link set flannel.1 down',
      'ip address flush dev flannel.1',
      'ip link set flannel.1 address 02:ff:00:00:00:09',
    ]
    // Each many times in a row: on a busy machine a fight that turns to others in between is over meanwhile.
    for (const act of acts)
      for (let i = 0; i < TIMES; i++) {
        await host.exec(['sh', '-c', act])
        await until('the overlay to be whole again', async () => (await overlayText(host)) === whole, {
          otherwise: () => agent.process.text().slice(-3000),
        })
        await sleep(APART_MS)
      }
    const named = () => agent.log().filter(({ msg }) => msg.includes('another program keeps changing'))
    const over = () => agent.log().filter(({ msg }) => msg.startsWith('no other program changes'))
    await until('the end of it', () => over().length === named().length, { withinMs: 60_000 })
    const said = agent.log().slice(before)
    // Five kinds of entries: of each some repairs, its name, and its end.
    expect(named().length).toBeGreaterThan(0)
    expect(named().length).toBeLessThanOrEqual(5)
    expect(said.length, said.map(({ msg }) => msg).join('\n')).toBeLessThanOrEqual(5 * 7)
  }, 400_000)
})
