import { familyOf, type Ip } from '../../../lease/net/ip.ts'
import type { Attributes } from './attributes.ts'
import type { MessageWriter } from './message.ts'

/** enum in linux/if_link.h: IFLA_VXLAN_ID 1, IFLA_VXLAN_GROUP 2, IFLA_VXLAN_LINK 3, ... */
const IFLA_VXLAN_ID = 1
const IFLA_VXLAN_GROUP = 2
const IFLA_VXLAN_LINK = 3
const IFLA_VXLAN_LOCAL = 4
const IFLA_VXLAN_LEARNING = 7
const IFLA_VXLAN_PORT = 15
const IFLA_VXLAN_GROUP6 = 16
const IFLA_VXLAN_LOCAL6 = 17
const IFLA_VXLAN_GBP = 23

/** Options that no backend sets, in the words of `ip -d link`. */
const EXTRA_FLAGS: ReadonlyMap<number, string> = new Map([
  [11, 'proxy'], // IFLA_VXLAN_PROXY
  [12, 'rsc'],
  [13, 'l2miss'],
  [14, 'l3miss'],
  [21, 'remcsumtx'],
  [22, 'remcsumrx'],
  [25, 'external'], // IFLA_VXLAN_COLLECT_METADATA
  [30, 'vnifilter'],
])
/** IFLA_VXLAN_GPE has no value: its presence turns the option on. */
const IFLA_VXLAN_GPE = 27

export interface VxlanMessage {
  readonly vni: number
  readonly port: number
  readonly local: Ip | undefined
  /** Index of the underlay interface; 0: any. */
  readonly underlay: number
  readonly learning: boolean
  readonly gbp: boolean
  /** See EXTRA_FLAGS; '' for a device as the backends create it. */
  readonly extra: string
}

export type VxlanFields = Omit<VxlanMessage, 'extra' | 'local'> & { readonly local: Ip }

export function readVxlan(attributes: Attributes): VxlanMessage {
  let vni = 0
  let port = 0
  let local: Ip | undefined
  let underlay = 0
  let learning = false
  let gbp = false
  const extra: string[] = []
  while (attributes.next()) {
    const { type } = attributes
    const flag = EXTRA_FLAGS.get(type)
    if (flag !== undefined) {
      if (attributes.u8() !== 0) extra.push(flag)
    } else if (type === IFLA_VXLAN_ID) vni = attributes.u32()
    else if (type === IFLA_VXLAN_PORT) port = attributes.u16Be()
    else if (type === IFLA_VXLAN_LOCAL || type === IFLA_VXLAN_LOCAL6) local = attributes.ip()
    else if (type === IFLA_VXLAN_LINK) underlay = attributes.u32()
    else if (type === IFLA_VXLAN_LEARNING) learning = attributes.u8() !== 0
    else if (type === IFLA_VXLAN_GBP) gbp = true
    else if (type === IFLA_VXLAN_GPE) extra.push('gpe')
    else if (type === IFLA_VXLAN_GROUP || type === IFLA_VXLAN_GROUP6) extra.push(`group ${attributes.ip()}`)
  }
  return { vni, port, local, underlay, learning, gbp, extra: extra.join(' ') }
}

export function writeVxlan(writer: MessageWriter, vxlan: VxlanFields): void {
  writer.attributeU32(IFLA_VXLAN_ID, vxlan.vni)
  writer.attributeU32(IFLA_VXLAN_LINK, vxlan.underlay)
  writer.attributeIp(familyOf(vxlan.local) === 'ipv6' ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL, vxlan.local)
  writer.attributeU8(IFLA_VXLAN_LEARNING, vxlan.learning ? 1 : 0)
  writer.attributeU16Be(IFLA_VXLAN_PORT, vxlan.port)
  if (vxlan.gbp) writer.attributeFlag(IFLA_VXLAN_GBP)
}
