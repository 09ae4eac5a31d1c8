import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { memoryOf } from '../support/memory.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

const subnets = '/coreos.com/network/subnets'
/** 120 values of 1.4 MB, and 40 that are nested 5,000 deep. */
const attack = `
  large() { head -c 1400000 /dev/zero | tr '\\0' x; }
  deep() { head -c 5000 /dev/zero | tr '\\0' '['; }
  for i in $(seq 0 119); do large | etcdctl put ${subnets}/10.245.$i.0-24; done
  for i in $(seq 0 39); do
    printf '{"PublicIP":"192.168.50.77","BackendType":"vxlan","BackendData":%s' "$(deep)" | etcdctl put ${subnets}/10.246.$i.0-24
  done`

describe.skipIf(why !== undefined)('values that anyone who may write to etcd can put there', () => {
  let overlay: OverlayBed
  let host: Host
  beforeAll(async () => {
    overlay = await overlayBed('hostile', ['h1'])
    host = overlay.hosts[0] as Host
    // The host draws none of the subnets that are attacked.
    await overlay.configure({ Network: '10.244.0.0/14', SubnetLen: 24, SubnetMin: '10.247.0.0' })
    await overlay.etcd.ctl(
      'put',
      `${subnets}/10.244.2.0-24`,
      '{"PublicIP":"192.168.50.102","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"vni":1,"vtepmac":"02:00:00:00:00:02"}}',
    )
  })
  afterAll(() => overlay.dispose())

  /** What the running agent says of a key. */
  const refuses = async (key: string) => {
    const words = ['dist/twill.js', 'map', '--json', `--local-socket=${host.localSocket}`]
    const { stdout } = await host.attempt([process.execPath, ...words])
    return stdout.includes(key)
  }

  it('cost a running and a starting agent little memory, none of its peers and no restart', async () => {
    const agent = await host.startAgent({ endpoints: overlay.etcd.endpoints })
    const etcdctl = `ETCDCTL_API=3 ETCDCTL_COMMAND_TIMEOUT=60s ETCDCTL_ENDPOINTS=${overlay.etcd.endpoint}`
    const script = `export ${etcdctl}\n${attack} >/dev/null`
    await host.exec(['sh', '-c', script], { withinMs: 240_000 })
    // The log names the first ones only: the map names all.
    await until('the last of them to be refused', () => refuses('10.246.39.0-24'))
    const running = memoryOf(agent.process.pid).peak
    await agent.stop()
    const cacheBytes = statSync(join(host.directory, 'leases.json')).size
    const again = await host.startAgent({ endpoints: overlay.etcd.endpoints })
    // It runs by its cache meanwhile: these are 160 MB to be read.
    await until('them to be refused again', () => refuses('10.246.39.0-24'), { withinMs: 60_000 })
    const starting = memoryOf(again.process.pid).peak
    expect((await host.routes()).join()).toContain('10.244.2.0/24 via 10.244.2.0 dev flannel.1')
    expect((await host.httpGet(8081, '/healthz'))?.status).toBe(200)
    expect(Math.max(running, starting)).toBeLessThan(150)
    expect(cacheBytes).toBeLessThan(16_384)
  }, 400_000)
})
