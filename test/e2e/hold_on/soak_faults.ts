import { rmSync, truncateSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../chaos/random.ts'
import type { EtcdServer } from '../../support/etcd.ts'
import type { Host } from '../../support/host.ts'

/** A host that is struck, with what the checker expects of it. */
export interface Struck {
  readonly host: Host
  /** The address that peers know it by; a fault that renumbers the host changes it. */
  home: string
  readonly cniFile: string
  /** Its key in etcd. */
  readonly key: string
  /** kill -9, and a start. */
  restart(): Promise<void>
}

export interface SoakStage {
  readonly random: Random
  readonly etcd: EtcdServer
  /** An address that no host has. */
  nextAddress(): string
  /** Neighbors forget whose MAC had an address, as a gratuitous ARP makes them. */
  announce(): Promise<void>
}

export interface SoakFault {
  readonly name: string
  /** Whether packets between pods may be lost while it lasts. */
  readonly mayLose: boolean
  /** Strikes one node, with another at hand, and takes all back. */
  act(one: Struck, other: Struck, stage: SoakStage): Promise<void>
}

const quiet = (name: string, act: SoakFault['act']): SoakFault => ({ name, mayLose: false, act })
const loud = (name: string, act: SoakFault['act']): SoakFault => ({ name, mayLose: true, act })
const subnets = '/coreos.com/network/subnets'
const lan = '192.168.50.0/24'
const virtual = (length: number, verb: 'add' | 'del') => [`address ${verb} 192.168.50.200/${length} dev eth0`]

export const soakFaults: readonly SoakFault[] = [
  quiet('virtual IP moved', async (one, other, { random }) => {
    const length = random.one([24, 32])
    await one.host.ip(virtual(length, 'add'))
    await sleep(random.whole(0, 300))
    await one.host.ip(virtual(length, 'del'))
    await other.host.ip(virtual(length, 'add'))
    await sleep(random.whole(0, 300))
    await other.host.ip(virtual(length, 'del'))
  }),
  quiet('virtual IP on two nodes for two seconds', async (one, other, { random }) => {
    const length = random.one([24, 32])
    for (const { host } of [one, other]) await host.ip(virtual(length, 'add'))
    await sleep(2_000)
    for (const { host } of [one, other]) await host.ip(virtual(length, 'del'))
  }),
  quiet('better default route over a VPN', async ({ host }) => {
    await host.ip([
      'link add tun0 type bridge',
      'address add 10.8.0.2/24 dev tun0',
      'link set tun0 up',
      'route prepend default via 10.8.0.1 dev tun0',
    ])
    await sleep(500)
    await host.ip(['link delete tun0'])
  }),
  quiet('underlay route replaced', async ({ host, home }, _, { random }) => {
    const other = random.one(['proto static', 'proto dhcp metric 0', 'src 192.168.50.1 proto static'])
    const source = other.includes('src') ? other.replace('192.168.50.1', home) : other
    await host.ip([`route replace ${lan} dev eth0 scope link ${source}`])
    await sleep(random.whole(0, 500))
    await host.ip([`route replace ${lan} dev eth0 proto kernel scope link src ${home}`])
  }),
  quiet('default route of another metric', async ({ host }) => {
    await host.ip([
      'route add default via 192.168.50.1 metric 700',
      'route delete default via 192.168.50.1 metric 0',
    ])
    await sleep(300)
    await host.ip([
      'route replace default via 192.168.50.1',
      'route delete default via 192.168.50.1 metric 700',
    ])
  }),
  quiet(
    'subnet.env and CNI network removed, emptied or garbled',
    async ({ host, cniFile }, _, { random }) => {
      for (const file of random.some([host.subnetFile, cniFile], 2)) {
        const how = random.whole(0, 2)
        if (how === 0) rmSync(file, { force: true })
        else if (how === 1) truncateSync(file)
        else writeFileSync(file, 'FLANNEL_SUBNET=10.244.99.1/24\n')
      }
      await sleep(200)
    },
  ),
  quiet('lease of another with the same public IP', async ({ home }, _, { etcd }) => {
    await put(etcd, '10.244.240.0-24', home, '02:00:00:00:00:f0')
    await sleep(300)
    await etcd.ctl('del', `${subnets}/10.244.240.0-24`)
  }),
  quiet('lease of another with the same VTEP MAC', async ({ host }, _, { etcd }) => {
    await put(etcd, '10.244.241.0-24', '192.168.50.99', await macOf(host))
    await sleep(300)
    await etcd.ctl('del', `${subnets}/10.244.241.0-24`)
  }),
  quiet('key over the underlay', async (_, __, { etcd }) => {
    await put(etcd, '192.168.50.0-24', '192.168.50.99', '02:00:00:00:00:f2')
    await sleep(300)
    await etcd.ctl('del', `${subnets}/192.168.50.0-24`)
  }),
  quiet("bridge with another node's subnet", async ({ host }, other, { random }) => {
    const subnet = other.host.subnetEnv().FLANNEL_SUBNET ?? ''
    await host.ip([
      'link add br9 type bridge',
      `address add ${subnet.replace('.1/', '.99/')} dev br9`,
      'link set br9 up',
    ])
    await sleep(random.whole(0, 500))
    await host.ip(['link delete br9'])
  }),
  quiet('agent killed and started', one => one.restart()),
  loud('address removed and added back beside a virtual IP', async ({ host, home }, _, { random }) => {
    await host.ip([
      ...virtual(32, 'add'),
      `address delete ${home}/24 dev eth0`,
      `route add ${lan} dev eth0 src 192.168.50.200`,
      'route replace default via 192.168.50.1',
    ])
    await sleep(random.whole(0, 2_000))
    await host.ip([
      `route delete ${lan} dev eth0 src 192.168.50.200`,
      `address add ${home}/24 dev eth0`,
      'route replace default via 192.168.50.1',
      ...virtual(32, 'del'),
    ])
  }),
  loud('renumbered', async (one, _, { nextAddress, announce }) => {
    const home = nextAddress()
    await one.host.ip([
      `address delete ${one.home}/24 dev eth0`,
      `address add ${home}/24 dev eth0`,
      'route replace default via 192.168.50.1',
    ])
    one.home = home
    await announce()
  }),
  loud('address of another node too', async ({ host }, other, { announce }) => {
    await host.ip([`address add ${other.home}/24 dev eth0`])
    await sleep(1_000)
    await host.ip([`address delete ${other.home}/24 dev eth0`])
    await announce()
  }),
  loud('key overwritten with another public IP', async ({ key }, _, { etcd }) => {
    await put(etcd, key.slice(subnets.length + 1), '192.168.50.99', '02:00:00:00:00:f9')
    await sleep(1_000)
    await etcd.ctl('del', key)
  }),
  loud('key deleted', async ({ key }, _, { etcd }) => {
    await etcd.ctl('del', key)
  }),
  loud('eth0 set down and up', async ({ host }, _, { random }) => {
    await host.ip(['link set eth0 down'])
    await sleep(random.whole(0, 1_000))
    await host.ip(['link set eth0 up', 'route replace default via 192.168.50.1'])
  }),
  loud('eth0 renamed and back', async ({ host }) => {
    for (const [from, to] of [
      ['eth0', 'wan0'],
      ['wan0', 'eth0'],
    ]) {
      await host.ip([
        `link set ${from} down`,
        `link set ${from} name ${to}`,
        `link set ${to} up`,
        'route replace default via 192.168.50.1',
      ])
      await sleep(500)
    }
  }),
  loud('address moved to a bridge over eth0 and back', async ({ host, home }) => {
    await host.ip([
      'link add br0 type bridge',
      'link set br0 up',
      'link set eth0 master br0',
      `address delete ${home}/24 dev eth0`,
      `address add ${home}/24 dev br0`,
      'route replace default via 192.168.50.1',
    ])
    await sleep(500)
    await host.ip([
      'link delete br0',
      `address add ${home}/24 dev eth0`,
      'route replace default via 192.168.50.1',
    ])
  }),
  loud('overlay routes and device removed', async ({ host }, _, { random }) => {
    await host.ip([
      random.one(['route flush dev flannel.1', 'link delete flannel.1', 'neigh flush dev flannel.1']),
    ])
  }),
]

function put(etcd: EtcdServer, key: string, publicIp: string, mac: string): Promise<string> {
  const value = {
    PublicIP: publicIp,
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: mac },
  }
  return etcd.ctl('put', `${subnets}/${key}`, JSON.stringify(value))
}

export async function macOf(host: Host): Promise<string> {
  const link = await host.attempt(['ip', 'link', 'show', 'flannel.1'])
  return /link\/ether (\S+)/.exec(link.stdout)?.[1] ?? 'none'
}
