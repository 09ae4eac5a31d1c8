import { type Break, type BreakFacts, fdb, neighbor, route } from './breaks.ts'

/** Faults that are not on a packet's path; `step` is the check that doctor has to name first. */
export const hostBreaks: Record<string, Break> = {
  'subnet.env is gone': {
    step: 'subnet file',
    act: ({ subnetFile }) => `mv ${subnetFile} ${subnetFile}.kept`,
    undo: ({ subnetFile }) => `mv ${subnetFile}.kept ${subnetFile}`,
  },
  'subnet.env names another subnet': {
    step: 'subnet file',
    act: ({ subnetFile }) =>
      `cp ${subnetFile} ${subnetFile}.kept; sed -i 's/^FLANNEL_SUBNET=.*/FLANNEL_SUBNET=10.244.250.1\\/24/' ${subnetFile}`,
    undo: ({ subnetFile }) => `mv ${subnetFile}.kept ${subnetFile}`,
  },
  'the bridge has the subnet of an earlier life': {
    step: 'old bridge',
    act: () =>
      'ip link add docker1 type bridge; ip address add 10.244.251.1/24 dev docker1; ip link set docker1 up',
    undo: () => 'ip link delete docker1',
  },
  'another VXLAN device has the VNI': {
    step: 'VNI taken',
    act: () =>
      'ip link delete flannel.1; ip link add cilium_vxlan type vxlan id 1 dstport 8472 local 192.168.50.250 dev eth0',
    undo: facts => ['ip link delete cilium_vxlan', device(facts)].join('; '),
  },
  'the device is gone': {
    step: 'device',
    act: () => 'ip link delete flannel.1',
    undo: facts => device(facts),
  },
  'a process has the UDP port of the device': {
    step: 'port taken',
    act: ({ subnetFile }) =>
      [
        'ip link delete flannel.1',
        `node -e 'require("dgram").createSocket("udp4").bind(8472, () => console.log("bound"))' >${subnetFile}.bound 2>&1 & echo $! >${subnetFile}.pid`,
        `until grep -q bound ${subnetFile}.bound; do sleep 0.1; done`,
      ].join('\n'),
    undo: facts =>
      [
        `kill $(cat ${facts.subnetFile}.pid)`,
        'while ss -Huln sport = :8472 | grep -q .; do sleep 0.1; done',
        device(facts),
      ].join('\n'),
  },
  'another device has the UDP port with other options': {
    step: 'port taken',
    act: () =>
      'ip link delete flannel.1; ip link add other type vxlan id 9 dstport 8472 local 192.168.50.250 dev eth0 gbp',
    undo: facts => ['ip link delete other', device(facts)].join('; '),
  },
  'the device has another VNI': {
    step: 'device',
    act: facts => `ip link delete flannel.1; ${device(facts).replace('id 1 ', 'id 7 ')}`,
    undo: facts => `ip link delete flannel.1; ${device(facts)}`,
  },
  'the device has another UDP port': {
    step: 'device',
    act: facts => `ip link delete flannel.1; ${device(facts).replace('dstport 8472', 'dstport 4789')}`,
    undo: facts => `ip link delete flannel.1; ${device(facts)}`,
  },
  'the device sends from an address that is gone': {
    step: 'device',
    act: facts => `ip link delete flannel.1; ${device({ ...facts, ownIp: '192.168.50.251' })}`,
    undo: facts => `ip link delete flannel.1; ${device(facts)}`,
  },
}

/** Commands that make flannel.1 with all entries for the one peer. */
function device(facts: BreakFacts): string {
  return [
    `ip link add flannel.1 address ${facts.ownMac} mtu 1450 type vxlan id 1 local ${facts.ownIp} dev eth0 dstport 8472 nolearning`,
    `ip address add ${facts.ownGateway}/32 dev flannel.1`,
    'ip link set flannel.1 up',
    fdb(facts),
    neighbor(facts),
    route(facts),
  ].join('; ')
}
