import type { LinkMessage } from '../../netlink/codec/link.ts'

/** How two states differ, if it matters: the kernel also reports each change of carrier or queue. */
export function differenceOf(was: LinkMessage, is: LinkMessage): string | undefined {
  if (was.name !== is.name) return `was renamed from ${was.name} to ${is.name}`
  if (was.up !== is.up) return is.up ? 'was set up' : 'was set down'
  if (was.mac !== is.mac) return `changed its MAC from ${was.mac} to ${is.mac}`
  if (was.mtu !== is.mtu) return `changed its MTU from ${was.mtu} to ${is.mtu}`
  if (was.master !== is.master) return is.master === 0 ? 'left its master' : 'was given a master'
  if (was.protodown !== is.protodown) return `was set protodown ${is.protodown ? 'on' : 'off'}`
  if (was.kind !== is.kind || !sameVxlan(was, is)) return 'changed its kind'
  return undefined
}

function sameVxlan({ vxlan: a }: LinkMessage, { vxlan: b }: LinkMessage): boolean {
  if (a === undefined || b === undefined) return a === b
  const words = (['vni', 'port', 'local', 'underlay', 'learning', 'gbp', 'extra'] as const).filter(
    key => a[key] !== b[key],
  )
  return words.length === 0
}
