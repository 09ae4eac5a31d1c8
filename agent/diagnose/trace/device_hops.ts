import { familyOf } from '../../../lease/net/ip.ts'
import type { Link } from '../../state/entry.ts'
import type { LinkFacts } from '../host_facts.ts'
import type { Hop } from './hop.ts'
import type { Walk } from './walk.ts'

/** The desired VXLAN device of the packet's family; no hop for a backend without a device. */
export function deviceHop(walk: Walk): Hop | undefined {
  const want = wantedDevice(walk)
  if (want === undefined) return undefined
  const step = 'device'
  const is = walk.facts.links.find(({ name }) => name === want.name)
  const askAgent = 'see why the agent does not repair it: `twill status`, or journalctl -u twilld'
  if (is === undefined)
    return { step, state: 'broken', used: `${want.name} does not exist`, remedy: `start twilld; ${askAgent}` }
  const used = printLinkFacts(is)
  const why = difference(want, is, walk)
  return why === undefined
    ? { step, state: 'ok', used }
    : { step, state: 'broken', used, why, remedy: askAgent }
}

/** Whether the device's packets fit the interface below it. */
export function mtuHop(walk: Walk): Hop | undefined {
  const { facts, underlay } = walk
  const want = wantedDevice(walk)
  const device = facts.links.find(({ name }) => name === want?.name)
  const below = facts.links.find(({ name }) => name === underlay.name)
  if (want === undefined || device === undefined || below === undefined) return undefined
  const headroom = underlay.underlayMtu - want.deviceMtu
  const used = `${device.name} mtu ${device.mtu}, ${below.name} mtu ${below.mtu}`
  if (device.mtu + headroom <= below.mtu || headroom <= 0) return { step: 'MTU', state: 'ok', used }
  const why = `a full packet needs ${device.mtu + headroom} bytes with its outer headers: large packets are lost`
  const remedy = `raise the MTU of ${below.name}, or restart twilld so that it lowers the one of ${device.name}`
  return { step: 'MTU', state: 'broken', used, why, remedy }
}

type TowardPeer = Pick<Walk, 'backend' | 'self' | 'underlay' | 'to'>

export function wantedDevice({ backend, self, underlay, to }: TowardPeer): Link | undefined {
  const devices = backend.ownEntries(self, underlay).filter(entry => entry.kind === 'link')
  return devices.find(({ vxlan }) => familyOf(vxlan.local) === familyOf(to))
}

function difference(want: Link, is: LinkFacts, { facts }: Walk): string | undefined {
  const { vxlan } = is
  if (vxlan === undefined) return `it is a ${is.kind ?? 'plain'} device, not a VXLAN device`
  if (!is.up) return 'it is set down'
  if (is.mac !== want.mac)
    return `its MAC is ${is.mac}, peers send to ${want.mac}: they know that one from the lease`
  if (vxlan.vni !== want.vxlan.vni) return `its VNI is ${vxlan.vni}, the network's is ${want.vxlan.vni}`
  if (vxlan.port !== want.vxlan.port)
    return `its UDP port is ${vxlan.port}, the network's is ${want.vxlan.port}: peers do not hear it`
  if (!facts.links.some(link => link.addresses.some(({ address }) => address === vxlan.local)))
    return `it sends from ${vxlan.local}, which no interface of this host has`
  return undefined
}

function printLinkFacts({ name, mac, mtu, up, vxlan }: LinkFacts): string {
  const tunnel =
    vxlan && ` vxlan id ${vxlan.vni} local ${vxlan.local} dev ${vxlan.underlay} dstport ${vxlan.port}`
  return `${name} mtu ${mtu} state ${up ? 'UP' : 'DOWN'} address ${mac}${tunnel ?? ''}`
}
