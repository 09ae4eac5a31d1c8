import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Trace } from '../../agent/diagnose/trace.ts'
import { whyNoBed } from '../support/bed.ts'
import type { Host } from '../support/host.ts'
import { type OverlayBed, overlayBed } from '../support/overlay_bed.ts'
import type { Pod } from '../support/pod.ts'

const why = whyNoBed()
if (why !== undefined) console.warn(why)

interface Facts {
  readonly pod: string
  readonly prefix: string
  readonly gateway: string
  readonly mac: string
  readonly peerIp: string
  readonly ownGateway: string
  readonly ownMac: string
}

/** One link of the way: how to break it on h1, how to mend it, and the step that has to be named. */
interface Break {
  readonly step: string
  readonly act: (facts: Facts) => string
  readonly undo: (facts: Facts) => string
}

const route = ({ prefix, gateway }: Facts) => `ip route replace ${prefix} via ${gateway} dev flannel.1 onlink`
const fdb = ({ mac, peerIp }: Facts) => `bridge fdb replace ${mac} dev flannel.1 dst ${peerIp} self permanent`
const neighbor = ({ gateway, mac }: Facts) =>
  `ip neigh replace ${gateway} lladdr ${mac} dev flannel.1 nud permanent`
const _flushFilter = () =>
  'iptables -F FORWARD; iptables -P FORWARD ACCEPT; iptables -F INPUT; iptables -F OUTPUT'
const deleteTable = () => 'nft delete table inet other'

const breaks: Record<string, Break> = {
  'forwarding is off': {
    step: 'forwarding',
    act: () => 'sysctl -qw net.ipv4.ip_forward=0',
    undo: () => 'sysctl -qw net.ipv4.ip_forward=1',
  },
  'the route is missing': { step: 'route', act: ({ prefix }) => `ip route del ${prefix}`, undo: route },
  'a more specific route shadows ours': {
    step: 'route',
    act: ({ pod }) => `ip route add ${pod}/32 via 192.168.50.99 dev eth0`,
    undo: ({ pod }) => `ip route del ${pod}/32`,
  },
  'a blackhole lies over the pod': {
    step: 'route',
    act: ({ pod }) => `ip route add blackhole ${pod}/32`,
    undo: ({ pod }) => `ip route del blackhole ${pod}/32`,
  },
  'a policy rule sends it to another table': {
    step: 'route',
    act: () =>
      'ip route add default via 192.168.50.99 dev eth0 table 52; ip rule add to 10.244.0.0/16 table 52 pref 100',
    undo: () => 'ip rule del pref 100; ip route flush table 52',
  },
  'a policy rule refuses it': {
    step: 'route',
    act: () => 'ip rule add to 10.244.0.0/16 iif cni0 prohibit pref 100',
    undo: () => 'ip rule del pref 100',
  },
  'the neighbor is missing': {
    step: 'neighbor',
    act: ({ gateway }) => `ip neigh del ${gateway} dev flannel.1`,
    undo: neighbor,
  },
  'the neighbor has another MAC': {
    step: 'neighbor',
    act: ({ gateway }) => `ip neigh replace ${gateway} lladdr 02:ff:00:00:00:01 dev flannel.1 nud permanent`,
    undo: neighbor,
  },
  'the FDB entry is missing': {
    step: 'FDB',
    act: ({ mac, peerIp }) => `bridge fdb del ${mac} dev flannel.1 dst ${peerIp}`,
    undo: fdb,
  },
  'the FDB entry leads elsewhere': {
    step: 'FDB',
    act: ({ mac }) => `bridge fdb replace ${mac} dev flannel.1 dst 192.168.50.99 self permanent`,
    undo: fdb,
  },
  'the device is down': {
    step: 'device',
    act: () => 'ip link set flannel.1 down',
    undo: facts => ['ip link set flannel.1 up', neighbor(facts), route(facts)].join('; '),
  },
  'the device has another MAC': {
    step: 'device',
    act: () => 'ip link set flannel.1 address 02:ff:00:00:00:09',
    undo: facts => [`ip link set flannel.1 address ${facts.ownMac}`, neighbor(facts)].join('; '),
  },
  'the underlay carries less than the device sends': {
    step: 'MTU',
    act: () => 'ip link set eth0 mtu 1400',
    undo: () => 'ip link set eth0 mtu 1500',
  },
  'the public IP of the peer has no way': {
    step: 'underlay route',
    act: ({ peerIp }) => `ip route add unreachable ${peerIp}/32`,
    undo: ({ peerIp }) => `ip route del unreachable ${peerIp}/32`,
  },
  'the tunnel leads into itself': {
    step: 'underlay route',
    act: ({ peerIp }) => `ip route add ${peerIp}/32 dev flannel.1`,
    undo: ({ peerIp }) => `ip route del ${peerIp}/32`,
  },
  'the peer answers no ARP': {
    step: 'underlay neighbor',
    act: ({ peerIp }) => `ip neigh replace ${peerIp} dev eth0 nud failed`,
    undo: ({ peerIp }) => `ip neigh del ${peerIp} dev eth0`,
  },
  'the FORWARD policy drops what the agent would accept': {
    step: 'firewall',
    act: () =>
      'iptables -D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD; iptables -P FORWARD DROP',
    undo: () =>
      'iptables -P FORWARD ACCEPT; iptables -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
  },
  'a rule in FORWARD rejects pods': {
    step: 'firewall',
    act: () =>
      'iptables -N OTHER; iptables -I FORWARD -j OTHER; iptables -A OTHER -s 10.244.0.0/16 -m conntrack --ctstate NEW -j REJECT',
    undo: () => 'iptables -D FORWARD -j OTHER; iptables -F OTHER; iptables -X OTHER',
  },
  'only answers are dropped': {
    step: 'firewall, answer',
    act: () => 'iptables -I FORWARD -i flannel.1 -j DROP',
    undo: () => 'iptables -D FORWARD -i flannel.1 -j DROP',
  },
  'UDP of the tunnel is dropped on its way out': {
    step: 'firewall, UDP 8472',
    act: () => 'iptables -A OUTPUT -p udp --dport 8472 -j DROP',
    undo: () => 'iptables -D OUTPUT -p udp --dport 8472 -j DROP',
  },
  'UDP of the tunnel is dropped on its way in': {
    step: 'firewall, UDP 8472 in',
    act: () =>
      "nft 'add table inet other; add chain inet other arriving { type filter hook input priority 0; }; add rule inet other arriving udp dport 8472 drop'",
    undo: deleteTable,
  },
  'an nft table with a dropping policy forwards nothing': {
    step: 'firewall',
    act: () =>
      "nft 'add table inet other; add chain inet other other { type filter hook forward priority 10; policy drop; }; add rule inet other other ip saddr 10.99.0.0/16 accept'",
    undo: deleteTable,
  },
  'the reverse path is filtered strictly and leads elsewhere': {
    step: 'reverse path',
    act: () =>
      'sysctl -qw net.ipv4.conf.flannel/1.rp_filter=1; ip route add default via 192.168.50.99 dev eth0 table 53; ip rule add to 10.244.0.0/16 iif lo table 53 pref 90',
    undo: () =>
      'ip rule del pref 90; ip route flush table 53; sysctl -qw net.ipv4.conf.flannel/1.rp_filter=0',
  },
}

describe.skipIf(why !== undefined)('twill trace', () => {
  let overlay: OverlayBed
  let [h1, h2]: Host[] = []
  let [pod1, pod2]: Pod[] = []
  let facts: Facts

  const trace = async (from: string, to: string) => {
    const store = `--etcd-endpoints=${overlay.etcd.endpoints.join(',')}`
    const { stdout, stderr, code } = await (h1 as Host).attempt([
      process.execPath,
      'dist/twill.js',
      'trace',
      from,
      to,
      '--json',
      store,
    ])
    if (!stdout.startsWith('{')) throw new Error(`twill trace said ${code}: ${stdout}${stderr}`)
    return { code, ...(JSON.parse(stdout) as Trace) }
  }

  beforeAll(async () => {
    overlay = await overlayBed('trace', ['h1', 'h2'])
    await overlay.configure({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } })
    ;[h1, h2] = overlay.hosts
    const agents = await overlay.startAgents()
    pod1 = await h1?.pod()
    pod2 = await h2?.pod()
    facts = await factsOf(h1 as Host, h2 as Host, pod2 as Pod)
    await pod1?.ping(facts.pod as never)
    // What is broken stays broken: nothing repairs it.
    for (const agent of agents) await agent.stop()
  })
  afterAll(() => overlay.dispose())

  it('finds nothing on a sound path, from pod to pod and from node to node', async () => {
    const there = await trace(pod1?.address() ?? '', facts.pod)
    expect(there.hops.filter(({ state }) => state !== 'ok')).toEqual([])
    expect(there.code).toBe(0)
    const nodes = await trace(facts.ownGateway, facts.gateway)
    expect(nodes.hops.filter(({ state }) => state !== 'ok')).toEqual([])
  })

  it.each(Object.entries(breaks))('names the link where %s', async (_, { step, act, undo }) => {
    await h1?.exec(['sh', '-ec', act(facts)])
    try {
      const found = await trace(pod1?.address() ?? '', facts.pod)
      expect(found.broken?.step, JSON.stringify(found.hops, null, 2)).toBe(step)
      expect(found.broken?.remedy).toBeDefined()
      expect(found.code).not.toBe(0)
    } finally {
      await h1?.exec(['sh', '-ec', undo(facts)])
    }
    expect((await trace(pod1?.address() ?? '', facts.pod)).broken).toBeNull()
  })

  it('says that no node owns an address', async () => {
    const { broken } = await trace(pod1?.address() ?? '', '10.244.255.7')
    expect(broken).toMatchObject({
      step: 'lease',
      used: 'no lease holds 10.244.255.7: no node owns that subnet',
    })
  })

  it('names the peer whose lease agents refuse', async () => {
    const key = '/coreos.com/network/subnets/10.244.200.0-24'
    await overlay.etcd.ctl('put', key, '{"PublicIP":"127.0.0.1","PublicIPv6":null,"BackendType":"vxlan"}')
    const { broken } = await trace(pod1?.address() ?? '', '10.244.200.7')
    expect(broken).toMatchObject({ step: 'lease', why: expect.stringContaining('refuse') })
    await overlay.etcd.ctl('del', key)
  })
})

async function factsOf(h1: Host, h2: Host, pod: Pod): Promise<Facts> {
  const [network = ''] = h2.subnetEnv().FLANNEL_SUBNET?.split('/') ?? []
  const [own = ''] = h1.subnetEnv().FLANNEL_SUBNET?.split('/') ?? []
  const gateway = network.replace(/\.1$/, '.0')
  return {
    pod: pod.address(),
    prefix: `${gateway}/24`,
    gateway,
    mac: await macOf(h2),

    peerIp: h2.address(),
    ownGateway: own.replace(/\.1$/, '.0'),
    ownMac: await macOf(h1),
  }
}

async function macOf(host: Host): Promise<string> {
  const [link] = JSON.parse(await host.exec(['ip', '-j', 'link', 'show', 'flannel.1']))
  return link.address
}
