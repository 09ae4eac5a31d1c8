import type { HostNetwork, HostNetworks } from '../../lease/admission/host_networks.ts'
import { familyOf, type Ip, scopeOf } from '../../lease/net/ip.ts'
import {
  contains,
  hostPrefix,
  isSingleAddress,
  networkAddress,
  overlaps,
  type Prefix,
  prefixLength,
  prefixOf,
} from '../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../lease/network_config/network_config.ts'
import { defaultMetric } from '../state/kernel_defaults.ts'
import { BOOT_PROTOCOL } from '../state/ownership.ts'
import type { InterfaceFacts, RouteFacts } from '../state/underlay_facts.ts'
import type { UnderlayFacts } from './local_address.ts'

/** How many networks one warning names. */
const MAX_NAMED = 5

export interface HostSetting {
  readonly network: NetworkConfig
  readonly devices: readonly string[]
  readonly external: string
  readonly endpoints: readonly Ip[]
  /** Subnets of this node's pods: networks of a CNI plugin or Docker inside them are not the host's. */
  readonly ownSubnets: readonly Prefix[]
}

/**
 * What the host itself needs. A prefix or route around the whole pod network does not count, as the operator
 * cut the pod network out of it; single addresses (own, gateway, store) do.
 */
export function hostNetworks({ interfaces, routes }: UnderlayFacts, setting: HostSetting): HostNetworks {
  const { network, devices, endpoints, external } = setting
  const isPods = podNetworks(routes, setting)
  const hosts = interfaces
    .filter(({ name, loopback }) => !loopback && !devices.includes(name))
    .sort((a, b) => Number(b.name === external) - Number(a.name === external))
  const addresses = addressesOf(interfaces.filter(({ name }) => !devices.includes(name))).filter(
    ({ prefix, dev }) => !isPods(prefix, dev),
  )
  const connected = [...new Map(connectedOf(hosts, routes).map(it => [it.prefix, it])).values()].filter(
    ({ prefix, dev }) => !isPods(prefix, dev),
  )
  const wide = [
    ...connected.map(({ prefix, dev }) => reserve(prefix, `is connected to ${dev}`, dev === external)),
    ...routes.flatMap(route => (isPods(route.dst, route.dev) ? [] : routed(route))),
  ].filter(({ prefix }) => !network.families.some(family => isWider(prefix, family.network)))
  const single = [
    ...addresses.map(({ prefix, dev }) =>
      reserve(prefix, `is this host's own address on ${dev}`, dev === external),
    ),
    ...gatewaysOf(routes).map(({ via, dev }) =>
      reserve(hostPrefix(via), `is the default gateway on ${dev}`, dev === external),
    ),
    ...endpoints.map(ip => reserve(hostPrefix(ip), 'is the address of the lease store', true)),
  ]
  return {
    overlapping: [...wide, ...single].filter(({ prefix }) =>
      network.families.some(family => overlaps(family.network, prefix)),
    ),
    connected: connected.map(({ prefix }) => prefix),
    addresses: new Set(addresses.map(({ prefix }) => networkAddress(prefix))),
  }
}

/** Warnings at start about host networks that overlap the pod network, without networks inside named ones. */
export function overlapWarnings(
  { families }: NetworkConfig,
  { overlapping, connected }: HostNetworks,
): readonly string[] {
  return families.flatMap(({ network }) => {
    const around = connected.filter(prefix => isWider(prefix, network))
    const inWider =
      around.length === 0
        ? []
        : [
            `the pod network ${network} lies inside ${around.slice(0, MAX_NAMED).join(' and ')}, to which this host is connected: hosts ` +
              'there with an address in the pod network cannot be reached; if there are any, choose another Network in the network config',
          ]
    const inside = overlapping.filter(({ prefix }) => overlaps(network, prefix))
    const widest = inside.filter(
      (it, i) =>
        !inside.some((other, j) => isWider(other.prefix, it.prefix) || (other.prefix === it.prefix && j < i)),
    )
    if (widest.length === 0) return inWider
    const named = widest.slice(0, MAX_NAMED).map(({ prefix, use }) => `${prefix}, which ${use}`)
    const more = widest.length > MAX_NAMED ? `; and ${widest.length - MAX_NAMED} more` : ''
    return [
      ...inWider,
      `the pod network ${network} overlaps ${named.join('; ')}${more}: no subnet is chosen or programmed over these; ` +
        'choose another Network in the network config',
    ]
  })
}

interface Placed {
  readonly prefix: Prefix
  readonly dev: string
}

function reserve(prefix: Prefix, use: string, carriesNode: boolean): HostNetwork {
  return { prefix, use, refuses: 'overlapping', carriesNode }
}

/** Whether a prefix lies in this node's pod subnets, on a device that does not carry the node itself. */
function podNetworks(routes: readonly RouteFacts[], { external, ownSubnets }: HostSetting) {
  const carriers = new Set([external, ...gatewaysOf(routes).map(({ dev }) => dev)])
  return (prefix: Prefix, dev: string): boolean =>
    !carriers.has(dev) && ownSubnets.some(own => contains(own, prefix))
}

function addressesOf(interfaces: readonly InterfaceFacts[]): readonly Placed[] {
  return interfaces.flatMap(({ name, addresses }) =>
    addresses
      .filter(({ address }) => isGlobal(address))
      .map(({ address }) => ({ prefix: hostPrefix(address), dev: name })),
  )
}

/** From addresses, even with `noprefixroute`, and from routes without a gateway. */
function connectedOf(interfaces: readonly InterfaceFacts[], routes: readonly RouteFacts[]): Placed[] {
  const byAddress = interfaces.flatMap(({ name, addresses }) =>
    addresses.map(({ address, length }) => ({ prefix: prefixOf(address, length), dev: name })),
  )
  const byRoute = routes.flatMap(({ dst, dev, via }) => (via === undefined ? [{ prefix: dst, dev }] : []))
  return [...byAddress, ...byRoute].filter(
    ({ prefix }) => isGlobal(networkAddress(prefix)) && !isSingleAddress(prefix),
  )
}

/**
 * A route of another program through a gateway. flanneld's host-gw routes look like those of `ip route add`
 * without a metric; one with a metric is an operator's, and our route would take its packets.
 */
function routed({ dst, via, dev, protocol, metric }: RouteFacts): readonly HostNetwork[] {
  if (via === undefined && !isSingleAddress(dst)) return []
  const use = via === undefined ? `is routed to ${dev}` : `is routed via ${via} on ${dev}`
  const looksLikeFlanneld = protocol === BOOT_PROTOCOL && metric === defaultMetric[familyOf(dst)]
  return [{ prefix: dst, use, refuses: looksLikeFlanneld ? 'smaller' : 'inside', carriesNode: false }]
}

function gatewaysOf(routes: readonly RouteFacts[]): readonly { via: Ip; dev: string }[] {
  return routes.flatMap(({ dst, via, dev }) =>
    prefixLength(dst) === 0 && via !== undefined && isGlobal(via) ? [{ via, dev }] : [],
  )
}

function isWider(prefix: Prefix, network: Prefix): boolean {
  return prefix !== network && contains(prefix, network)
}

function isGlobal(ip: Ip): boolean {
  return scopeOf(ip) === 'global'
}
