import type { Lease, LeaseTable } from '../../lease/lease.ts'
import { familyOf, type Ip, scopeOf } from '../../lease/net/ip.ts'
import { networkAddress, prefixLength } from '../../lease/net/prefix.ts'
import type { Backend, Underlay } from '../backend/backend.ts'
import type { HostFacts, LinkFacts } from './host_facts.ts'
import { lookUp } from './route_lookup.ts'

/**
 * This host's lease, found without its agent: the one whose network address is on the overlay's device, where
 * flannel puts it; else the one with the device's VTEP MAC; else the one whose public IP is an address of
 * this host.
 */
export function ownLease(facts: HostFacts, leases: LeaseTable, backend: Backend): Lease | undefined {
  const devices = facts.links.filter(({ name }) => backend.devices.includes(name))
  const all = [...leases.values()]
  const has = (links: readonly LinkFacts[], ip: Ip) =>
    links.some(({ addresses }) => addresses.some(({ address }) => address === ip))
  return (
    all.find(({ subnets }) => subnets.some(({ prefix }) => has(devices, networkAddress(prefix)))) ??
    all.find(lease =>
      backend.publishedMacs(lease).some(mac => mac !== undefined && devices.some(link => link.mac === mac)),
    ) ??
    all.find(({ subnets }) =>
      subnets.some(({ publicIp }) => isHostsOwn(publicIp) && has(facts.links, publicIp)),
    )
  )
}

/** Every host has 127.0.0.1, and a lease may name it. */
export function isHostsOwn(publicIp: Ip): boolean {
  return scopeOf(publicIp) === 'global'
}

/**
 * The external interface as the kernel has it: below the overlay's device, else the one that has the public
 * IP, else that of the default route.
 */
export function underlayFacts(facts: HostFacts, self: Lease, backend: Backend): Underlay {
  const device = facts.links.find(({ name }) => backend.devices.includes(name))
  const [publicIp] = self.subnets.map(subnet => subnet.publicIp)
  const owner = facts.links.find(({ addresses }) => addresses.some(({ address }) => address === publicIp))
  const name = device?.vxlan?.underlay ?? owner?.name ?? defaultDevice(facts, publicIp)
  const link = facts.links.find(one => one.name === name)
  return {
    name: name ?? '?',
    underlayMtu: link?.mtu ?? 0,
    publicIps: self.subnets.map(subnet => subnet.publicIp),
    localIps: self.subnets.map(subnet => localIp(facts, backend, subnet.publicIp)),
    onLink: facts.routes.flatMap(route =>
      route.dev === name && route.table === 'main' && route.via === undefined && prefixLength(route.dst) > 0
        ? [route.dst]
        : [],
    ),
  }
}

/** Source address of that family's device; the public IP if there is none. */
function localIp(facts: HostFacts, backend: Backend, publicIp: Ip): Ip {
  const locals = facts.links.flatMap(({ name, vxlan }) =>
    backend.devices.includes(name) && vxlan?.local !== undefined ? [vxlan.local] : [],
  )
  return locals.find(local => familyOf(local) === familyOf(publicIp)) ?? publicIp
}

function defaultDevice(facts: HostFacts, toward: Ip | undefined): string | undefined {
  return toward && lookUp(facts, { src: undefined, dst: toward, iif: undefined }).route?.dev
}
