import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import { lostWhile } from '../support/pings.ts'
import { BootedHost, LIB, whyNoSystemd } from '../support/systemd.ts'
import { until } from '../support/until.ts'

const why = whyNoSystemd()
if (why !== undefined) console.warn(why)

const unit = readFileSync('manifests/systemd/twilld.service', 'utf8').replaceAll(
  '/usr/local/bin/twilld',
  `${LIB}/twilld.js`,
)
/** Bits of capabilities(7): CAP_NET_ADMIN 12, CAP_NET_RAW 13. */
const netCapabilities = '0000000000003000'
/** Seccomp in proc(5): a filter is in force. */
const filtered = '2'

describe.skipIf(why !== undefined)('twilld.service under a real systemd', () => {
  let overlay: OverlayBed
  let booted: BootedHost
  beforeAll(async () => {
    overlay = await overlayBed('unit', ['h1', 'h2'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    const [first, second] = overlay.hosts as [Host, Host]
    const [endpoint] = overlay.etcd.endpoints
    booted = await BootedHost.boot(first)
    await second.startAgent({ endpoints: overlay.etcd.endpoints })
    await booted.write('/etc/systemd/system/twilld.service', unit)
    await booted.write('/etc/default/twilld', `FLANNELD_ETCD_ENDPOINTS=${endpoint}\nFLANNELD_IFACE=eth0\n`)
    await booted.sh('systemctl daemon-reload')
  })
  afterAll(async () => {
    await booted?.powerOff()
    await overlay?.dispose()
  })

  const show = async (property: string) =>
    (await booted.sh(`systemctl show --value -p ${property} twilld`)).trim()
  const isReady = async () => /^ready: 10\.244\.\S+, 1 peer$/.test(await show('StatusText'))
  const waiting = { withinMs: 60_000, everyMs: 200 }

  it('is ready when it says so, with no more rights than it needs, and nothing that is refused to it troubles it', async () => {
    const { code, stderr } = await booted.run(['systemctl', 'start', 'twilld'])
    expect(code, `${stderr}${await booted.sh('journalctl -u twilld')}`).toBe(0)
    expect(await booted.sh('cat /run/flannel/subnet.env')).toContain('FLANNEL_SUBNET=10.244.')
    await until('the state of one that is ready', isReady, waiting)
    const status = await booted.sh(`cat /proc/${await show('MainPID')}/status`)
    expect(status).toMatch(new RegExp(`^CapEff:\\s${netCapabilities}$`, 'm'))
    expect(status).toMatch(new RegExp(`^Seccomp:\\s${filtered}$`, 'm'))
    const said = await booted.sh('journalctl -u twilld -o cat -p warning')
    expect(said.split('\n').filter(line => /"level"/.test(line))).toEqual([])
    expect(await show('NRestarts')).toBe('0')
  })

  it('is started again when it hangs, and no packet is lost', async () => {
    await booted.write('/etc/systemd/system/twilld.service.d/watchdog.conf', '[Service]\nWatchdogSec=10\n')
    await booted.sh('systemctl daemon-reload && systemctl restart twilld')
    const beats = () => show('WatchdogTimestampMonotonic')
    const first = await beats()
    await until('a beat of the watchdog', async () => (await beats()) !== first, waiting)
    const [, h2] = overlay.hosts as [Host, Host]
    const subnet = /FLANNEL_SUBNET=(.*)\.1\//.exec(await booted.sh('cat /run/flannel/subnet.env'))?.[1]
    await until('the way', async () => (await h2.ping(`${subnet}.0`)).length === 3)
    const lost = await lostWhile([[h2, `${subnet}.0`]], async () => {
      const hung = await show('MainPID')
      await booted.sh(`kill -STOP ${hung}`)
      await until('another process', async () => ![hung, '0'].includes(await show('MainPID')), waiting)
      await until(
        'the new one to be ready',
        async () => (await show('ActiveState')) === 'active' && isReady(),
        waiting,
      )
    })
    expect(lost).toEqual([])
  })

  it('is not started again where a flag is wrong', async () => {
    const conf = `[Service]\nExecStart=\nExecStart=${LIB}/twilld.js --no-such-flag\n`
    await booted.write('/etc/systemd/system/twilld.service.d/flag.conf', conf)
    await booted.sh('systemctl daemon-reload; systemctl restart twilld')
    expect([await show('ActiveState'), await show('ExecMainStatus')]).toEqual(['failed', '2'])
  })
})
