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
  const macs = new Set(devices.flatMap(({ mac }) => mac ?? []))
  return (
    all.find(({ subnets }) => subnets.some(({ prefix }) => has(devices, networkAddress(prefix)))) ??
    all.find(lease => backend.publishedMacs(lease).some(mac => mac !== undefined && macs.has(mac))) ??
    all.find(({ subnets }) => subnets.some(({ publicIp: ip }) => isHostsOwn(ip) && has(facts.links, ip)))
  )
}

/** Every host has 127.0.0.1, and a lease may name it. */
export function isHostsOwn(publicIp: Ip): boolean {
  return scopeOf(publicIp) === 'global'
}

/** Below the overlay's device, else the interface that has the public IP, else that of the way to it. */
export function underlayFacts(facts: HostFacts, self: Lease, backend: Backend): Underlay {
  const devices = facts.links.filter(({ name }) => backend.devices.includes(name))
  const publicIps = self.subnets.map(({ publicIp }) => publicIp)
  const [first] = publicIps
  const owner = facts.links.find(({ addresses }) => addresses.some(({ address }) => address === first))
  const toward = () => first && lookUp(facts, { dst: first }).route?.dev
  const name = devices[0]?.vxlan?.underlay ?? owner?.name ?? toward()
  const link = facts.links.find(one => one.name === name)
  const locals = devices.flatMap(({ vxlan }) => vxlan?.local ?? [])
  const connected = facts.routes.filter(
    ({ dev, table, via, dst }) =>
      dev === name && table === 'main' && via === undefined && prefixLength(dst) > 0,
  )
  return {
    name: name ?? '?',
    underlayMtu: link?.mtu ?? 0,
    publicIps,
    // The source address of that family's device; the public IP if there is none.
    localIps: publicIps.map(ip => locals.find(local => familyOf(local) === familyOf(ip)) ?? ip),
    onLink: connected.map(({ dst }) => dst),
  }
}
