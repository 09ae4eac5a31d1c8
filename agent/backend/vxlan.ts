import { type Vtep, vtepOf } from '../../lease/backend_data.ts'
import { type Lease, type Subnet, subnetOf } from '../../lease/lease.ts'
import { type Family, familyBits, familyOf } from '../../lease/net/ip.ts'
import type { Mac } from '../../lease/net/mac.ts'
import { networkAddress } from '../../lease/net/prefix.ts'
import { type NetworkConfig, NetworkConfigError } from '../../lease/network_config/network_config.ts'
import type { Address, Entry, Link } from '../state/entry.ts'
import { defaultMetric, leastMtu } from '../state/kernel_defaults.ts'
import { BOOT_PROTOCOL } from '../state/ownership.ts'
import { type Backend, PeerRefusedError, type Underlay } from './backend.ts'
import { directRoute, isOnLink, sharedSubnets } from './direct_route.ts'
import { parseVxlanOptions, type VxlanOptions } from './vxlan_options.ts'

/** What differs between the families. `headroom`: bytes of outer headers. */
const perFamily: Readonly<Record<Family, { device: string; headroom: number }>> = {
  // Ethernet 14 + IPv4 20 + UDP 8 + VXLAN 8 (RFC 7348, 5), and 40 for an outer IPv6 header.
  ipv4: { device: 'flannel', headroom: 50 },
  ipv6: { device: 'flannel-v6', headroom: 70 },
}

/** IFNAMSIZ (linux/if.h) less the zero byte at the end. */
const MAX_NAME = 15

/** Names of the devices of both families, whichever of them the network has. */
export function vxlanDevices(vni: number): readonly string[] {
  return Object.values(perFamily).map(({ device }) => `${device}.${vni}`)
}

/** Tunnels to every peer, or only to those behind a router where DirectRouting is on. */
export function vxlan(network: NetworkConfig): Backend {
  const options = parseVxlanOptions(network.backend.options)
  const families = network.families.map(({ family }) => family)
  const names = new Map(families.map(family => [family, `${perFamily[family].device}.${options.vni}`]))
  const nameOf = (family: Family) => names.get(family) ?? ''
  for (const family of families) refuseImpossible(family, nameOf(family), options)
  const mtuOf = (family: Family, underlay: Underlay) =>
    Math.min(options.mtu ?? underlay.underlayMtu, underlay.underlayMtu) - perFamily[family].headroom

  function ownEntries(self: Lease, underlay: Underlay): readonly Entry[] {
    const { vni, port, learning, gbp } = options
    const links = self.subnets.map((subnet, i): Link => {
      const family = familyOf(subnet.prefix)
      const local = underlay.localIps[i] ?? subnet.publicIp
      return {
        kind: 'link',
        name: nameOf(family),
        mac: vtepIn(subnet).mac,
        up: true,
        deviceMtu: mtuOf(family, underlay),
        vxlan: { vni, port, local, underlay: underlay.name, learning, gbp },
      }
    })
    return [...links, ...self.subnets.map(subnet => ownAddress(subnet, nameOf(familyOf(subnet.prefix))))]
  }

  function peerEntries(self: Lease, peer: Lease, underlay: Underlay): readonly Entry[] {
    refuseBackend(peer)
    return Array.from(sharedSubnets(self, peer)).flatMap(({ own, theirs }) => {
      if (options.directRouting && isOnLink(theirs, underlay)) return [directRoute(theirs, underlay)]
      const mac = tunnelMac(own, theirs, options.vni)
      return tunnelEntries(theirs, mac, nameOf(familyOf(theirs.prefix)))
    })
  }

  return {
    type: 'vxlan',
    devices: families.map(nameOf),
    overlayMtu: underlay => Math.min(...families.map(family => mtuOf(family, underlay))),
    publish: macs => macs.map(mac => ({ vni: options.vni, mac })),
    publishedMacs: lease => families.map(family => vtepOf(subnetOf(lease, family)?.backendData)?.mac),
    ownEntries,
    peerEntries,
  }
}

/** Refuses options with which the kernel could never create a device. Throws NetworkConfigError. */
function refuseImpossible(family: Family, name: string, { vni, mtu }: VxlanOptions): void {
  const { device, headroom } = perFamily[family]
  const least = leastMtu[family]
  const digits = MAX_NAME - device.length - 1
  if (name.length > MAX_NAME)
    throw new NetworkConfigError(
      `Backend.VNI is ${vni}: the device ${name} would have a name of ${name.length} characters, Linux has at most ` +
        `${MAX_NAME}; take a VNI of at most ${10 ** digits - 1}`,
    )
  if (mtu !== undefined && mtu - headroom < least)
    throw new NetworkConfigError(
      `Backend.MTU is ${mtu}: less ${headroom} for the tunnel, ${name} would have an MTU of ${mtu - headroom}, and ` +
        `${family} needs ${least}; take ${least + headroom} or more, or leave it out`,
    )
}

function refuseBackend({ backendType }: Lease): void {
  if (backendType === '') throw new PeerRefusedError('it is reserved, and no node has taken it yet')
  if (backendType !== 'vxlan')
    throw new PeerRefusedError(`its backend is '${backendType}', the network's is 'vxlan'`)
}

/** The peer's MAC. Throws PeerRefusedError where the peer's VNI or MAC makes a tunnel to it impossible. */
function tunnelMac(own: Subnet, theirs: Subnet, ownVni: number): Mac {
  const { vni, mac } = vtepIn(theirs)
  if (vni !== undefined && vni !== ownVni)
    throw new PeerRefusedError(`its VNI is ${vni}, the network's is ${ownVni}: its packets would be dropped`)
  if (mac === vtepIn(own).mac)
    throw new PeerRefusedError(
      `its VTEP MAC ${mac} is our own: was the host cloned? Delete its flannel device and restart its agent`,
    )
  return mac
}

/** flannel's host address on the device: the node's own packets then have a source in its subnet. */
function ownAddress(subnet: Subnet, dev: string): Address {
  const address = networkAddress(subnet.prefix)
  return { kind: 'address', dev, address, length: familyBits(familyOf(subnet.prefix)) }
}

/** MAC to host (FDB), gateway to MAC, subnet to gateway: the network address of the peer's subnet. */
function tunnelEntries(peer: Subnet, mac: Mac, dev: string): Entry[] {
  const gateway = networkAddress(peer.prefix)
  return [
    { kind: 'fdb', dev, mac, dst: peer.publicIp },
    { kind: 'neighbor', dev, address: gateway, mac },
    {
      kind: 'route',
      type: 'unicast',
      dst: peer.prefix,
      via: gateway,
      dev,
      onlink: true,
      metric: defaultMetric[familyOf(peer.prefix)],
      protocol: BOOT_PROTOCOL,
    },
  ]
}

/** The VTEP that a lease published. Throws PeerRefusedError where the backend data is missing or unusable. */
function vtepIn({ backendData }: Subnet): Vtep {
  const vtep = vtepOf(backendData)
  if (vtep !== undefined) return vtep
  const reason = backendData !== undefined && 'unusable' in backendData ? backendData.unusable : undefined
  throw new PeerRefusedError(reason ?? 'its backend data is missing: a VNI and a VtepMAC are needed')
}
