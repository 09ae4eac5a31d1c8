import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Agent } from '../support/agent.ts'
import { whyNoBed } from '../support/bed.ts'
import { mapBounded } from '../support/exec.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('peers that come, change and go', () => {
  let overlay: OverlayBed
  let agent: Agent
  let host: Host

  beforeEach(async () => {
    overlay = await overlayBed('churn', ['h1'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    ;[agent] = (await overlay.startAgents(['--resync=3600'])) as [Agent]
    host = overlay.hosts[0] as Host
  })
  afterEach(() => overlay.dispose())

  it('are programmed as they are at the end, and nothing of it is taken for the work of another program', async () => {
    const key = (n: number) => `/coreos.com/network/subnets/10.244.${n}.0-24`
    const put = (n: number, mac: number) =>
      overlay.etcd.ctl(
        'put',
        key(n),
        `{"PublicIP":"192.168.60.${n}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:0${mac}:${n.toString(16).padStart(2, '0')}"}}`,
      )
    const free = Number(host.subnetEnv().FLANNEL_SUBNET?.split('.')[2])
    const peers = Array.from({ length: 81 }, (_, i) => 100 + i).filter(n => n !== free)
    await mapBounded(peers, 8, async n => {
      await put(n, 1)
      if (n % 2 === 0) await put(n, 2)
      if (n % 3 === 0) await overlay.etcd.ctl('del', key(n))
      if (n % 9 === 0) await put(n, 3)
    })
    const left = peers.filter(n => n % 3 !== 0 || n % 9 === 0)
    const macOf = (n: number) => (n % 9 === 0 ? 3 : n % 2 === 0 ? 2 : 1)
    const expected = left
      .map(
        n => `c6:d2:00:00:0${macOf(n)}:${n.toString(16).padStart(2, '0')} dst 192.168.60.${n} self permanent`,
      )
      .sort()
      .join('\n')
    const fdb = async () =>
      (await host.exec(['bridge', 'fdb', 'show', 'dev', 'flannel.1']))
        .trim()
        .split('\n')
        .map(line => line.trim())
        .sort()
        .join('\n')
    let found = ''
    await until(
      'the peers that are left',
      async () => {
        found = await fdb()
        return found === expected
      },
      { otherwise: () => found },
    )
    const metrics = (await host.httpGet(8081, '/metrics'))?.body ?? ''
    expect(metrics.match(/^twill_drift_repaired_total\{.*\} [1-9]/gm)).toBeNull()
    expect(metrics).toContain('twill_operations_total{result="refused"} 0')
    expect(metrics).toContain('twill_entries_contested 0')
    expect(agent.log().filter(({ msg }) => msg.includes('another program'))).toEqual([])
  })
})
