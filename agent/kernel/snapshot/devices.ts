import { type LinkMessage, writeGetLink } from '../../netlink/codec/link.ts'
import type { MessageWriter } from '../../netlink/codec/message.ts'
import { NetlinkError } from '../../netlink/errno.ts'
import type { Requests } from '../../netlink/requests.ts'
import { newLink } from './dumps.ts'

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

/** Names of devices by index, each looked up once. Do not keep it longer than one snapshot. */
export class DeviceNames {
  readonly #requests: Requests
  readonly #names = new Map<number, string>()

  constructor(requests: Requests) {
    this.#requests = requests
  }

  learn(link: LinkMessage): void {
    this.#names.set(link.index, link.name)
  }

  async need(indexes: Iterable<number>, signal: AbortSignal): Promise<void> {
    for (const index of indexes) {
      if (index === 0 || this.#names.has(index)) continue
      const link = await findLink(this.#requests, index, signal)
      if (link !== undefined) this.learn(link)
    }
  }

  /** Name of the interface that a VXLAN device sends through; '' where the routes decide. */
  async underlayOf({ vxlan }: LinkMessage, signal: AbortSignal): Promise<string> {
    const index = vxlan?.underlay ?? 0
    await this.need([index], signal)
    return this.get(index) ?? ''
  }

  /** Undefined for index 0 and for a device that was deleted meanwhile. */
  get(index: number): string | undefined {
    return this.#names.get(index)
  }
}
