import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { overlayBed, overlayText } from '../support/overlay_bed.ts'
import { until } from '../support/until.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

/** Devices of others: a pair, a bridge, VXLAN devices with another VNI or port, one of them with a name like ours. */
const devices = [
  'link add cni9 type bridge',
  'link add ext0 type veth peer name ext1',
  'link add vxlan7 type vxlan id 7 dstport 4789 local 192.168.50.12 nolearning',
  'link add flannel.9 type vxlan id 9 dstport 8472 local 192.168.50.12 dev eth0 nolearning',
  'link add flannel1 type vxlan id 1 dstport 4790 dev eth0 local 192.168.50.12',
  'link add mac0 link eth0 type macvlan mode bridge',
]
const setUp = ['cni9', 'ext0', 'ext1', 'vxlan7', 'flannel.9', 'flannel1'].map(name => `link set ${name} up`)

const byte = fc.integer({ min: 2, max: 250 })
/** Leaves out 192.168.50.11 (etcd, which a foreign neighbor entry would cut off) and .12 (the host, whose public IP no peer may have). */
const peerByte = byte.filter(n => n !== 11 && n !== 12)
const device = fc.constantFrom('cni9', 'ext0', 'vxlan7', 'flannel.9')
const protocol = fc.constantFrom('', 'proto static', 'proto dhcp', 'proto bgp', 'proto 118', 'proto ra')
/** Inside of the network as well as outside; of the very prefixes that peers have, where another metric keeps them apart. */
const prefix = fc
  .tuple(fc.constantFrom('10.244', '10.99', '172.20'), byte)
  .map(([net, n]) => `${net}.${n}.0/24`)
const foreign: fc.Arbitrary<string> = fc.oneof(
  fc
    .tuple(prefix, byte, protocol, fc.integer({ min: 1, max: 900 }))
    .map(([to, via, by, metric]) => `route add ${to} via 192.168.50.${via} dev eth0 ${by} metric ${metric}`),
  fc
    .tuple(prefix, device, fc.integer({ min: 1, max: 900 }))
    .map(([to, dev, metric]) => `route add ${to} dev ${dev} metric ${metric}`),
  fc
    .tuple(prefix, fc.constantFrom('blackhole', 'unreachable', 'prohibit'))
    .map(([to, kind]) => `route add ${kind} ${to} metric 999`),
  fc.tuple(prefix, byte).map(([to, via]) => `route add ${to} via 192.168.50.${via} dev eth0 table 100`),
  byte.map(n => `route add fd10:244:0:${n}::/64 via fd50::${n} dev eth0 metric ${n}`),
  fc
    .tuple(peerByte, fc.constantFrom('eth0', 'cni9', 'ext0'))
    .map(
      ([n, dev]) => `neigh replace 192.168.50.${n} lladdr 02:00:00:00:00:${hex(n)} dev ${dev} nud permanent`,
    ),
  byte.map(n => `neigh replace fd50::${n} lladdr 02:00:00:00:00:${hex(n)} dev eth0 nud permanent`),
  fc
    .tuple(byte, fc.constantFrom('cni9', 'ext0', 'flannel.9', 'eth0'))
    .map(([n, dev]) => `address replace 172.31.${n}.1/24 dev ${dev}`),
  byte.map(n => `rule add from 10.244.${n}.0/24 lookup 100 priority ${1000 + n}`),
)
const fdb = fc
  .tuple(byte, fc.constantFrom('vxlan7', 'flannel.9', 'flannel1'))
  .map(([n, dev]) => `fdb append 02:00:00:00:00:${hex(n)} dev ${dev} dst 192.168.50.${n} self permanent`)
const things = fc.record({
  ip: fc.array(foreign, { minLength: 10, maxLength: 60 }),
  bridge: fc.array(fdb, { maxLength: 15 }),
  peers: fc.uniqueArray(peerByte, { minLength: 3, maxLength: 12 }),
})

describe.skipIf(why !== undefined)('only what is ours', () => {
  it('is ever changed or removed: through start, churn, repair, a crash and cleanup', {
    timeout: 300_000,
  }, async () => {
    await fc.assert(fc.asyncProperty(things, livesThrough), { numRuns: 4, endOnFailure: true })
  })
})

async function livesThrough({
  ip,
  bridge,
  peers,
}: {
  ip: string[]
  bridge: string[]
  peers: number[]
}): Promise<void> {
  const overlay = await overlayBed('ours', ['h1'])
  try {
    const host = overlay.hosts[0] as Host
    await overlay.configure({
      Network: '10.244.0.0/16',
      // The host takes its subnet from a range in which no peer has one.
      SubnetMin: '10.244.252.0',
      EnableIPv6: true,
      IPv6Network: 'fd10:244::/48',
      IPv6SubnetLen: 64,
      IPv6SubnetMin: 'fd10:244:0:1000::',
      Backend: { Type: 'vxlan', DirectRouting: true },
    })
    await host.sysctl({ 'ipv6/conf/default/accept_dad': 0, 'ipv6/conf/default/router_solicitations': 0 })
    await host.ip([...devices, ...setUp])
    // The kernel reports the carrier of the pair up to a second later.
    await until(
      'the carrier of the pair',
      async () => !/: ext\d@.*NO-CARRIER/.test(await host.exec(['ip', '-o', 'link'])),
    )
    // Some contradict each other: what the kernel takes is what there is.
    await force(host, 'ip', ip)
    await force(host, 'bridge', bridge)
    const theirs = await foreignText(host)
    const same = async (when: string) => expect(await foreignText(host), when).toBe(theirs)

    const start = () =>
      host.startAgent({ endpoints: overlay.etcd.endpoints, flags: ['--resync=1', '--ip-masq'] })
    const agent = await start()
    await same('after the start')
    for (const n of peers) await overlay.etcd.ctl('put', ...peer(n))
    const last = peers.at(-1)
    await until('the peers', async () => (await overlayText(host)).includes(`10.244.${last}.0/24 via`))
    for (const n of peers.slice(0, 2)) await overlay.etcd.ctl('del', ...peer(n).slice(0, 1))
    await until(
      'two to leave',
      async () => !(await overlayText(host)).includes(`10.244.${peers[1]}.0/24 via 10.244`),
    )
    await same('after the churn')
    await force(host, 'ip', [
      'link delete flannel.1',
      'link set flannel-v6.1 down',
      'route add 10.244.251.0/24 via 10.244.251.0 dev flannel-v6.1 onlink',
    ])
    await until('the repair', async () => /^\d*:? ?flannel\.1: .*UP/m.test(await overlayText(host)))
    await same('after the repair')
    await agent.kill9()
    await (await start()).stop()
    await same('after the crash')
    const words = [
      '--vni=1',
      `--subnet-file=${host.subnetFile}`,
      `--cache-file=${host.directory}/leases.json`,
    ]
    await host.exec(['./dist/twill.js', 'cleanup', '--yes', ...words])
    await same('after the cleanup')
    expect(await host.exec(['ip', '-o', 'link'])).not.toMatch(/ flannel(-v6)?\.1:/)
    expect(await host.exec(['ip', 'route', 'show', 'proto', '117'])).toBe('')
  } finally {
    await overlay.dispose()
  }
}

/** Every other peer is near, and reached through eth0. */
function peer(n: number): [string, string] {
  const [ip4, ip6] = n % 2 === 0 ? [`192.168.50.${n}`, `fd50::${n}`] : [`192.168.77.${n}`, `fd77::${n}`]
  const data = (kind: number) => `{"VNI":1,"VtepMAC":"c6:d2:00:00:0${kind}:${hex(n)}"}`
  return [
    `/coreos.com/network/subnets/10.244.${n}.0-24&fd10:244:0:${n}::-64`,
    `{"PublicIP":"${ip4}","PublicIPv6":"${ip6}","BackendType":"vxlan","BackendData":${data(4)},"BackendV6Data":${data(6)}}`,
  ]
}

function hex(n: number): string {
  return n.toString(16).padStart(2, '0')
}

async function force(host: Host, program: 'ip' | 'bridge', lines: readonly string[]): Promise<void> {
  await host.attempt([program, '-force', '-batch', '-'], { input: `${lines.join('\n')}\n` })
}

/** All there is but ours; without what the kernel makes by itself and what moves by itself. */
async function foreignText(host: Host): Promise<string> {
  const show = [
    'ip -o link show',
    'ip -o -d link show type vxlan',
    'ip -o address show',
    'ip -4 route show table all',
    'ip -6 route show table all',
    'ip -4 neigh show nud permanent',
    'ip -6 neigh show nud permanent',
    'bridge fdb show',
    'ip rule show',
  ]
  const text = await host.exec(['sh', '-c', show.join('; ')])
  return text
    .split('\n')
    .map(line => line.trim().replaceAll(/\s+/g, ' '))
    .filter(line => !/(dev|:) flannel(-v6)?\.1[ :]| proto 117\b|fe80|ff00::|33:33:|01:00:5e/.test(line))
    .sort()
    .join('\n')
}
