import type { Lease, Subnet } from '../../lease/lease.ts'
import { type Family, familyBits, familyOf } from '../../lease/net/ip.ts'
import { isUnicast, type Mac, parseMac } from '../../lease/net/mac.ts'
import { networkAddress } from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config.ts'
import type { Address, Entry, Link } from '../state/entry.ts'
import { BOOT_PROTOCOL } from '../state/ownership.ts'
import { type Backend, PeerRefusedError, type Underlay } from './backend.ts'
import { defaultMetric, directRoute, isOnLink, sharedSubnets } from './direct_route.ts'
import { parseVxlanOptions, type VxlanOptions } from './vxlan_options.ts'

/** All that differs between the families: the device's name, and what the outer headers add to a packet, in bytes. */
const perFamily: Readonly<Record<Family, { device: string; headroom: number }>> = {
  // Ethernet 14 + IPv4 20 + UDP 8 + VXLAN 8 (RFC 7348, 5), and 40 for an outer IPv6 header.
  ipv4: { device: 'flannel', headroom: 50 },
  ipv6: { device: 'flannel-v6', headroom: 70 },
}

/** What our devices of both families are called, whatever the network has. */
export function vxlanDevices(vni: number): readonly string[] {
  return Object.values(perFamily).map(({ device }) => `${device}.${vni}`)
}

/** Tunnels to every peer, or only to those behind a router where DirectRouting is on. */
export function vxlan(network: NetworkConfig): Backend {
  const options = parseVxlanOptions(network.backend.options)
  const families = network.families.map(({ family }) => family)
  const nameOf = (family: Family) => `${perFamily[family].device}.${options.vni}`
  const mtuOf = (family: Family, underlay: Underlay) =>
    Math.min(options.mtu ?? underlay.underlayMtu, underlay.underlayMtu) - perFamily[family].headroom

  function ownEntries(self: Lease, underlay: Underlay): readonly Entry[] {
    const links = self.subnets.map((subnet, i): Link => {
      const family = familyOf(subnet.prefix)
      const { mac } = parseBackendData(subnet)
      const { vni, port, learning, gbp } = options
      const local = underlay.localIps[i] ?? subnet.publicIp
      return {
        kind: 'link',
        name: nameOf(family),
        mac,
        up: true,
        deviceMtu: mtuOf(family, underlay),
        vxlan: { vni, port, local, underlay: underlay.name, learning, gbp },
      }
    })
    return [...links, ...self.subnets.map(subnet => ownAddress(subnet, nameOf(familyOf(subnet.prefix))))]
  }

  function peerEntries(self: Lease, peer: Lease, underlay: Underlay): readonly Entry[] {
    if (peer.backendType === '') throw new PeerRefusedError('it is reserved, and no node has taken it yet')
    if (peer.backendType !== 'vxlan')
      throw new PeerRefusedError(`its backend is '${peer.backendType}', ours is 'vxlan'`)
    return Array.from(sharedSubnets(self, peer)).flatMap(({ own, theirs }) => {
      if (options.directRouting && isOnLink(theirs, underlay)) return [directRoute(theirs, underlay)]
      const { vni, mac } = parseBackendData(theirs)
      if (vni !== undefined && vni !== options.vni)
        throw new PeerRefusedError(
          `its VNI is ${vni}, ours is ${options.vni}: the two cannot hear each other`,
        )
      if (mac === parseBackendData(own).mac)
        throw new PeerRefusedError(
          `its VTEP MAC ${mac} is our own: was the host cloned? Delete its flannel device and restart its agent`,
        )
      return tunnelEntries(theirs, mac, nameOf(familyOf(theirs.prefix)))
    })
  }

  return {
    type: 'vxlan',
    devices: families.map(nameOf),
    overlayMtu: underlay => Math.min(...families.map(family => mtuOf(family, underlay))),
    // Compact, VNI first, VtepMAC last: flanneld recovers its MAC by cutting this text at `:"` and `"}`.
    publish: macs => macs.map(mac => ({ VNI: options.vni, VtepMAC: mac })),
    publishedMacs: lease =>
      families.map(family => {
        const subnet = lease.subnets.find(({ prefix }) => familyOf(prefix) === family)
        return subnet && macIn(subnet)
      }),
    ownEntries,
    peerEntries,
  }
}

/** flannel gives its device the subnet's network address as a host address: what the node itself sends has a source in its subnet. */
function ownAddress(subnet: Subnet, dev: string): Address {
  const address = networkAddress(subnet.prefix)
  return { kind: 'address', dev, address, length: familyBits(familyOf(subnet.prefix)) }
}

/** MAC to host, gateway to MAC, subnet to gateway; the gateway is the peer subnet's network address. */
function tunnelEntries(peer: Subnet, mac: Mac, dev: string): Entry[] {
  const gateway = networkAddress(peer.prefix)
  const route = {
    via: gateway,
    dev,
    onlink: true,
    metric: defaultMetric(peer),
    protocol: BOOT_PROTOCOL,
    blackhole: false,
  }
  return [
    { kind: 'fdb', dev, mac, dst: peer.publicIp },
    { kind: 'neighbor', dev, address: gateway, mac },
    { kind: 'route', dst: peer.prefix, ...route },
  ]
}

/** `{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}`; old flanneld releases publish no VNI. Foreign input. */
function parseBackendData(subnet: Subnet): { vni: VxlanOptions['vni'] | undefined; mac: Mac } {
  const data = subnet.backendData
  const fields = typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {}
  const { VNI: vni, VtepMAC: text } = fields
  if (vni !== undefined && typeof vni !== 'number')
    throw new PeerRefusedError(`the VNI in its backend data ${JSON.stringify(data)} is no number`)
  const mac = typeof text === 'string' ? macFrom(text) : undefined
  if (mac === undefined)
    throw new PeerRefusedError(
      `its backend data ${JSON.stringify(data) ?? 'is missing and'} names no usable VtepMAC: a unicast MAC is needed`,
    )
  return { vni, mac }
}

function macIn(subnet: Subnet): Mac | undefined {
  try {
    return parseBackendData(subnet).mac
  } catch {
    return undefined
  }
}

function macFrom(text: string): Mac | undefined {
  try {
    const mac = parseMac(text)
    return isUnicast(mac) ? mac : undefined
  } catch {
    return undefined
  }
}
