import type { Host } from './host.ts'
import type { Pod } from './pod.ts'

export interface BreakFacts {
  readonly pod: string
  readonly prefix: string
  readonly gateway: string
  readonly mac: string
  readonly peerIp: string
  readonly ownGateway: string
  /** The bridge's address, the pods' gateway. */
  readonly ownBridge: string
  readonly ownMac: string
  readonly ownIp: string
  readonly subnetFile: string
}

/** One link of the path: how to break it on h1, how to mend it, and the step that trace has to name. */
export interface Break {
  readonly step: string
  /**
   * The check that doctor names, where it differs: doctor also walks from the host, and the rule hides that
   * path.
   */
  readonly check?: string
  readonly act: (facts: BreakFacts) => string
  readonly undo: (facts: BreakFacts) => string
}

export const route = ({ prefix, gateway }: BreakFacts) =>
  `ip route replace ${prefix} via ${gateway} dev flannel.1 onlink`
export const fdb = ({ mac, peerIp }: BreakFacts) =>
  `bridge fdb replace ${mac} dev flannel.1 dst ${peerIp} self permanent`
export const neighbor = ({ gateway, mac }: BreakFacts) =>
  `ip neigh replace ${gateway} lladdr ${mac} dev flannel.1 nud permanent`
const deleteTable = () => 'nft delete table inet other'

export const pathBreaks: Record<string, Break> = {
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
    // Repeats the request: the kernel soon forgets a neighbor that failed.
    act: ({ peerIp }) =>
      `nft 'add table arp other; add chain arp other in { type filter hook input priority 0; }; add rule arp other in arp saddr ip ${peerIp} drop'
      ip neigh replace ${peerIp} dev eth0 nud failed
      ping -q -i 0.5 -w 60 ${peerIp} >/dev/null 2>&1 &`,
    undo: ({ peerIp }) => `nft delete table arp other; ip neigh del ${peerIp} dev eth0 || true`,
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
  'the tunnel filter does not know the peer': {
    step: 'firewall, UDP 8472 in',
    act: () =>
      "nft 'add table inet twill-flannel.1; add set inet twill-flannel.1 peers4 { type ipv4_addr; elements = { 192.168.50.99 }; }; add chain inet twill-flannel.1 tunnel; add rule inet twill-flannel.1 tunnel ip saddr != @peers4 drop; add chain inet twill-flannel.1 prerouting { type filter hook prerouting priority raw; }; add rule inet twill-flannel.1 prerouting udp dport 8472 @th,96,24 1 jump tunnel'",
    undo: () => 'nft delete table inet twill-flannel.1',
  },
  'an nft table with a dropping policy forwards nothing': {
    step: 'firewall',
    act: () =>
      "nft 'add table inet other; add chain inet other other { type filter hook forward priority 10; policy drop; }; add rule inet other other ip saddr 10.99.0.0/16 accept'",
    undo: deleteTable,
  },
  'the reverse path is filtered strictly and leads elsewhere': {
    step: 'reverse path',
    check: 'route',
    act: () =>
      'sysctl -qw net.ipv4.conf.flannel/1.rp_filter=1; ip route add default via 192.168.50.99 dev eth0 table 53; ip rule add to 10.244.0.0/16 iif lo table 53 pref 90',
    undo: () =>
      'ip rule del pref 90; ip route flush table 53; sysctl -qw net.ipv4.conf.flannel/1.rp_filter=0',
  },
}

export async function breakFacts(h1: Host, h2: Host, pod: Pod): Promise<BreakFacts> {
  const [network = ''] = h2.subnetEnv().FLANNEL_SUBNET?.split('/') ?? []
  const [own = ''] = h1.subnetEnv().FLANNEL_SUBNET?.split('/') ?? []
  const gateway = network.replace(/\.1$/, '.0')
  return {
    pod: pod.address(),
    prefix: `${gateway}/24`,
    gateway,
    mac: await macOf(h2),
    peerIp: h2.address(),
    ownBridge: own,
    ownGateway: own.replace(/\.1$/, '.0'),
    ownMac: await macOf(h1),
    ownIp: h1.address(),
    subnetFile: h1.subnetFile,
  }
}

async function macOf(host: Host): Promise<string> {
  const [link] = JSON.parse(await host.exec(['ip', '-j', 'link', 'show', 'flannel.1']))
  return link.address
}
