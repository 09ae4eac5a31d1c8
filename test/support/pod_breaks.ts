import type { Break } from './breaks.ts'

/** Faults between a pod and its own host, and in settings on a packet's path; doctor finds them too. */
export const podBreaks: Record<string, Break> = {
  "the pods' bridge is down": {
    step: 'source pod',
    check: 'pod bridge',
    // Otherwise the bridge would lose its IPv6 address.
    act: () => 'sysctl -qw net.ipv6.conf.cni0.keep_addr_on_down=1; ip link set cni0 down',
    undo: () => 'ip link set cni0 up',
  },
  "the pods' bridge has lost its address": {
    step: 'source pod',
    check: 'pod bridge',
    act: ({ ownBridge }) => `ip address del ${ownBridge}/24 dev cni0`,
    undo: ({ ownBridge }) => `ip address add ${ownBridge}/24 dev cni0`,
  },
  'the route to the own pods is gone': {
    step: 'route, answer',
    act: ({ ownGateway }) =>
      `ip route del ${ownGateway}/24 dev cni0; ip route add default via 192.168.50.99 dev eth0`,
    undo: ({ ownGateway, ownBridge }) =>
      `ip route del default via 192.168.50.99; ip route add ${ownGateway}/24 dev cni0 proto kernel scope link src ${ownBridge}`,
  },
  'a blackhole lies over the own pods': {
    step: 'source pod',
    check: 'pod bridge',
    act: ({ ownGateway }) => `ip route add blackhole ${ownGateway}/25`,
    undo: ({ ownGateway }) => `ip route del blackhole ${ownGateway}/25`,
  },
  'the host answers no ARP of its pods': {
    step: 'source pod',
    check: 'pod bridge',
    act: () => 'sysctl -qw net.ipv4.conf.cni0.arp_ignore=8',
    undo: () => 'sysctl -qw net.ipv4.conf.cni0.arp_ignore=0',
  },
  'what pods send is not passed on, by that interface alone': {
    step: 'forwarding',
    act: () => 'sysctl -qw net.ipv4.conf.cni0.forwarding=0',
    undo: () => 'sysctl -qw net.ipv4.conf.cni0.forwarding=1',
  },
  'what peers send is not passed on, by that interface alone': {
    step: 'forwarding',
    act: () => 'sysctl -qw net.ipv4.conf.flannel/1.forwarding=0',
    undo: () => 'sysctl -qw net.ipv4.conf.flannel/1.forwarding=1',
  },
  "a table of the bridge drops pods' frames": {
    step: 'firewall',
    act: () =>
      "nft 'add table bridge other; add chain bridge other other { type filter hook input priority 0; policy drop; }'",
    undo: () => 'nft delete table bridge other',
  },
  'a table of one device drops what comes in by it': {
    step: 'firewall',
    act: () =>
      "nft 'add table netdev other; add chain netdev other other { type filter hook ingress device cni0 priority 0; }; add rule netdev other other ip saddr 10.244.0.0/16 drop'",
    undo: () => 'nft delete table netdev other',
  },
  'a table of one device drops what the tunnel brings': {
    step: 'firewall, answer',
    act: () =>
      "nft 'add table netdev other; add chain netdev other other { type filter hook ingress device flannel.1 priority 0; policy drop; }'",
    undo: () => 'nft delete table netdev other',
  },
  'a mark of the firewall sends it to another table': {
    step: 'route',
    act: () =>
      'iptables -t mangle -A PREROUTING -i cni0 -j MARK --set-mark 7; ip rule add fwmark 7 table 54 pref 70; ip route add default via 192.168.50.99 dev eth0 table 54',
    undo: () =>
      'iptables -t mangle -D PREROUTING -i cni0 -j MARK --set-mark 7; ip rule del pref 70; ip route flush table 54',
  },
  'a mark of nft sends it to another table': {
    step: 'route',
    act: () =>
      "nft 'add table ip other; add chain ip other other { type filter hook prerouting priority mangle; }; add rule ip other other iifname cni0 meta mark set 7'; ip rule add fwmark 7 prohibit pref 70",
    undo: () => 'nft delete table ip other; ip rule del pref 70',
  },
  "the reverse path of the tunnel's own packets is filtered strictly": {
    step: 'underlay reverse path',
    act: ({ peerIp, ownIp }) =>
      [
        // Other beds may have pushed us out of the peer's ARP table, which all namespaces share: a strict filter
        // would then keep this host from answering its request, and no packet would come that is dropped.
        `ping -q -c 1 -w 5 -I ${ownIp} ${peerIp} >/dev/null`,
        'sysctl -qw net.ipv4.conf.eth0.rp_filter=1',
        'ip link add mv0 link eth0 type macvlan mode bridge',
        // A second network card that does not answer ARP for the address of the first.
        'sysctl -qw net.ipv4.conf.mv0.arp_ignore=1 net.ipv4.conf.mv0.arp_announce=2',
        'ip address add 192.168.50.240/32 dev mv0; ip link set mv0 up',
        `ip route add ${peerIp}/32 dev mv0`,
        `! ping -q -c 2 -i 0.2 -W 1 -I ${ownIp} ${peerIp} >/dev/null`,
      ].join('\n'),
    undo: () => 'ip link delete mv0; sysctl -qw net.ipv4.conf.eth0.rp_filter=0',
  },
}
