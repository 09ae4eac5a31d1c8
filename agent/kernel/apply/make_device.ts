import { ExpectedError } from '../../../lease/common/errors.ts'
import { shellQuote } from '../../../lease/common/shell_quote.ts'
import { familyOf } from '../../../lease/net/ip.ts'
import { writeDelLink, writeNewVxlan, writeSetLink } from '../../netlink/codec/link.ts'
import type { MessageWriter } from '../../netlink/codec/message.ts'
import { NetlinkError } from '../../netlink/errno.ts'
import type { Requests } from '../../netlink/requests.ts'
import type { Link } from '../../state/entry.ts'
import { needsRebuild } from '../../state/operation.ts'
import { printEntry } from '../../state/print.ts'
import { findLink, readDevice } from '../snapshot/devices.ts'
import { dumpLinks } from '../snapshot/dumps.ts'
import type { DeviceSettings } from './device_settings.ts'

export class DeviceError extends ExpectedError {
  override name = 'DeviceError'
}

/**
 * Makes the device as desired: changes it in place where the kernel can, else deletes the device of that name
 * and creates it. Throws DeviceError, NetlinkError.
 */
export async function makeDevice(
  requests: Requests,
  settings: DeviceSettings,
  desired: Link,
  signal: AbortSignal,
): Promise<void> {
  let was = await readDevice(requests, desired.name, signal)
  if (was !== undefined && needsRebuild(was.entry, desired)) {
    await deleteDevice(requests, desired.name, signal)
    was = undefined
  }
  if (was === undefined) {
    await create(requests, desired, signal)
    was = await readDevice(requests, desired.name, signal)
    if (was === undefined) throw new DeviceError(`Cannot make device ${desired.name}: it was deleted at once`)
    const made = was.entry.deviceMtu
    // On an IPv6 underlay vxlan_config_apply() reduces the MTU to what fits, without an error.
    if (made !== desired.deviceMtu)
      throw new DeviceError(
        `Cannot give device ${desired.name} the MTU ${desired.deviceMtu}: the kernel made it ${made}, what underlay interface ${desired.vxlan.underlay} leaves room for`,
      )
  }
  // Before the device is set up.
  settings.keep(desired)
  const { index } = was.link
  // Setting the MAC, even to its present value, makes the kernel drop all neighbors of the device.
  const change = {
    ...(was.entry.mac !== desired.mac ? { mac: desired.mac } : {}),
    ...(was.entry.deviceMtu !== desired.deviceMtu ? { mtu: desired.deviceMtu } : {}),
    ...(was.entry.up ? {} : { up: true as const }),
    ...(was.entry.master === undefined ? {} : { master: 0 as const }),
    ...(was.entry.protodown ? { protodown: false as const } : {}),
  }
  const write = (writer: MessageWriter) => writeSetLink(writer, index, change)
  if (Object.keys(change).length > 0)
    await requests.request(`Cannot make device ${desired.name}`, write, () => undefined, signal)
  await check(requests, desired, signal)
}

/** Succeeds where the device does not exist. */
export async function deleteDevice(requests: Requests, name: string, signal: AbortSignal): Promise<void> {
  const link = await findLink(requests, name, signal)
  if (link === undefined) return
  try {
    const write = (writer: MessageWriter) => writeDelLink(writer, link.index)
    await requests.request(`Cannot delete device ${name}`, write, () => undefined, signal)
  } catch (error) {
    if (!(error instanceof NetlinkError && error.code === 'ENODEV')) throw error
  }
}

async function create(requests: Requests, desired: Link, signal: AbortSignal): Promise<void> {
  const { name, mac, deviceMtu, vxlan } = desired
  const underlay = await findLink(requests, vxlan.underlay, signal)
  if (underlay === undefined)
    throw new DeviceError(
      `Cannot create device ${name}: its underlay interface '${vxlan.underlay}' does not exist`,
    )
  const link = { name, mac, mtu: deviceMtu, vxlan: { ...vxlan, underlay: underlay.index } }
  try {
    const write = (writer: MessageWriter) => writeNewVxlan(writer, link)
    await requests.request(`Cannot create device ${name}`, write, () => undefined, signal)
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code !== 'EEXIST') throw error
    throw new DeviceError(await explainConflict(requests, desired, signal), { cause: error })
  }
}

/** The kernel allows one device a VNI and port. Cilium, Docker and others leave theirs behind. */
async function explainConflict(requests: Requests, desired: Link, signal: AbortSignal): Promise<string> {
  const { name, vxlan } = desired
  const links = await dumpLinks(requests, signal)
  const family = familyOf(vxlan.local)
  const holder = links.find(
    link =>
      link.vxlan?.vni === vxlan.vni &&
      link.vxlan.port === vxlan.port &&
      familyOf(link.vxlan.local ?? vxlan.local) === family,
  )
  const holds = `VNI ${vxlan.vni} on UDP port ${vxlan.port}`
  return holder === undefined
    ? `Cannot create device ${name}: the kernel says that it or ${holds} exists already, but no such device is listed`
    : `Cannot create device ${name}: device ${holder.name} holds ${holds}; set another VNI or Port in the network config, or stop the program that made it and delete it (${shellQuote('ip', 'link', 'delete', holder.name)})`
}

async function check(requests: Requests, desired: Link, signal: AbortSignal): Promise<void> {
  const made = (await readDevice(requests, desired.name, signal))?.entry
  if (made === undefined) throw new DeviceError(`Cannot make device ${desired.name}: it was deleted at once`)
  const [is, wanted] = [printEntry(made).split(' '), printEntry(desired).split(' ')]
  if (is.join() === wanted.join()) return
  const [more, less] = [without(is, wanted), without(wanted, is)]
  throw new DeviceError(
    `Cannot make device ${desired.name} as '${wanted.join(' ')}': it has '${more}' in place of '${less}'`,
  )
}

function without(words: readonly string[], others: readonly string[]): string {
  return words.filter(word => !others.includes(word)).join(' ')
}
