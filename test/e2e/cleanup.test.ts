import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed, overlayText } from '../support/overlay_bed.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

describe.skipIf(why !== undefined)('twill cleanup', () => {
  let overlay: OverlayBed
  let host: Host
  let before: string
  let rules: string

  beforeAll(async () => {
    overlay = await overlayBed('cleanup', ['h1', 'h2'])
    host = overlay.hosts[0] as Host
    await overlay.configure({
      Network: '10.244.0.0/16',
      EnableIPv6: true,
      IPv6Network: 'fd10:244::/32',
      IPv6SubnetLen: 64,
      // h2 is near: its route is on eth0, with our route protocol.
      Backend: { Type: 'vxlan', DirectRouting: true },
    })
    await host.ip([
      'route add 10.99.0.0/16 via 192.168.50.13 dev eth0',
      'link add flannel.7 type vxlan id 7 dstport 4789 local 192.168.50.12',
    ])
    await host.exec(['iptables', '-A', 'FORWARD', '-s', '10.99.0.0/16', '-j', 'ACCEPT'])
    before = await overlayText(host)
    rules = await iptables()
    const agents = await overlay.startAgents(['--ip-masq', '--iptables-resync=1', '--ip-blackhole-route'])
    await Promise.all(agents.map(agent => agent.stop()))
  })
  afterAll(() => overlay.dispose())

  const iptables = async () =>
    (await host.exec(['sh', '-c', 'iptables-save; ip6tables-save']))
      .split('\n')
      .filter(line => line.startsWith('-A') || line.includes('FLANNEL'))
      .join('\n')
  const cleanup = (...words: string[]) =>
    host.attempt([
      './dist/twill.js',
      'cleanup',
      `--subnet-file=${host.subnetFile}`,
      `--cache-file=${host.directory}/leases.json`,
      '--timeout=40',
      ...words,
    ])
  const store = () => `--etcd-endpoints=${overlay.etcd.endpoint}`

  it('only prints what it would remove, unless told', async () => {
    const whole = await overlayText(host)
    const { stdout, code } = await cleanup(store())
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines.filter(line => line.startsWith('delete link')).map(line => line.split(' ')[2])).toEqual([
      'flannel.1',
      'flannel-v6.1',
    ])
    const routes = lines.filter(line => line.startsWith('delete route'))
    // Of --ip-blackhole-route: the own subnet, in both families. The others lead to h2.
    expect(routes.filter(line => line.startsWith('delete route blackhole'))).toHaveLength(2)
    expect(routes).toHaveLength(4)
    expect(lines.slice(-4)).toEqual([
      'delete firewall rules of flannel',
      `delete file ${host.subnetFile}`,
      `delete file ${host.directory}/leases.json`,
      'Nothing was removed: stop the agent, and give --yes',
    ])
    expect(await overlayText(host)).toBe(whole)
    expect(await iptables()).toContain('FLANNEL-POSTRTG')
  })

  it('removes all that an agent made, and nothing else', async () => {
    const { code, stdout } = await cleanup(store(), '--yes')
    expect(code, stdout).toBe(0)
    expect(await overlayText(host)).toBe(before)
    expect(await iptables()).toBe(rules)
    expect(() => host.subnetEnv()).toThrow('ENOENT')
  })

  it('finds nothing the second time', async () => {
    const { code, stdout } = await cleanup(store(), '--yes')
    expect([code, stdout]).toEqual([0, 'There is nothing to remove\n'])
  })

  it('needs no store where it is told the VNI', async () => {
    expect((await cleanup('--vni=7')).stdout).toMatch(/^delete link flannel\.7 /)
    const { code, stderr } = await cleanup('--vni=many')
    expect([code, stderr]).toEqual([
      2,
      "twill: --vni is 'many': it must be a whole number from 0 to 16777215\n",
    ])
  })

  it('says which store it cannot read, and removes nothing', async () => {
    const { code, stderr } = await cleanup('--etcd-endpoints=http://192.168.50.11:1', '--timeout=2', '--yes')
    expect(code).toBe(4)
    expect(stderr).toContain('192.168.50.11')
  })
})
