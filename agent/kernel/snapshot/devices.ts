import { type LinkMessage, writeGetLink } from '../../netlink/codec/link.ts'
import type { MessageWriter } from '../../netlink/codec/message.ts'
import { NetlinkError } from '../../netlink/errno.ts'
import type { Requests } from '../../netlink/requests.ts'
import type { Link } from '../../state/entry.ts'
import { newLink } from './dumps.ts'
import { linkEntry } from './entries.ts'

export async function findLink(
  requests: Requests,
  which: string | number,
  signal: AbortSignal,
): Promise<LinkMessage | undefined> {
  try {
    const write = (writer: MessageWriter) => writeGetLink(writer, which)
    const [link] = await requests.request(`Cannot read device ${which}`, write, newLink, signal)
    // The kernel also finds a device by an alternative name, which does not count here.
    return link !== undefined && (typeof which === 'number' || link.name === which) ? link : undefined
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENODEV') return undefined
    throw error
  }
}

/** Undefined for index 0, and for a device that was deleted meanwhile. */
export async function deviceName(
  requests: Requests,
  index: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  return index === 0 ? undefined : (await findLink(requests, index, signal))?.name
}

/** A link as the kernel reports it, and as one of our devices. */
export interface Device {
  readonly link: LinkMessage
  readonly entry: Link
}

export async function readDevice(
  requests: Requests,
  name: string,
  signal: AbortSignal,
): Promise<Device | undefined> {
  const link = await findLink(requests, name, signal)
  const underlay = await deviceName(requests, link?.vxlan?.underlay ?? 0, signal)
  return link && { link, entry: linkEntry(link, underlay ?? '') }
}
