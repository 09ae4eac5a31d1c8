import { addressForm, RTM_NEWADDR } from '../../netlink/codec/address.ts'
import { Fingerprint, type MessageForm } from '../../netlink/codec/fingerprint.ts'
import { neighborForm, RTM_NEWNEIGH } from '../../netlink/codec/neighbor.ts'
import { RTM_NEWROUTE, routeForm } from '../../netlink/codec/route.ts'
import type { Requests } from '../../netlink/requests.ts'
import type { Look, Scope } from '../kernel.ts'
import { readEntries } from './snapshot.ts'

/** Compares the kernel's answer with that of the last look. Builds entries only where it differs. */
export async function lookAtEntries(
  requests: Requests,
  scope: Scope,
  last: string | undefined,
  signal: AbortSignal,
): Promise<Look> {
  if (last !== undefined) {
    const summed = new SummedRequests(requests, 'few')
    await readEntries(summed, scope, signal)
    if (summed.fingerprint === last) return { fingerprint: last, entries: undefined }
  }
  const summed = new SummedRequests(requests, 'all')
  const entries = await readEntries(summed, scope, signal)
  return { fingerprint: summed.fingerprint, entries }
}

/** Message types of which there can be thousands. */
const numerous: ReadonlySet<number> = new Set([RTM_NEWNEIGH, RTM_NEWROUTE])

/** Without devices: each look reads these anyway. */
const forms: ReadonlyMap<number, MessageForm> = new Map([
  [RTM_NEWADDR, addressForm],
  [RTM_NEWNEIGH, neighborForm],
  [RTM_NEWROUTE, routeForm],
])

/** Sums up answers in a fingerprint. With `few`, messages of the numerous types are not parsed. */
class SummedRequests implements Requests {
  readonly #requests: Requests
  readonly #isParsed: (type: number) => boolean
  readonly #fingerprint = new Fingerprint()

  constructor(requests: Requests, read: 'all' | 'few') {
    this.#requests = requests
    this.#isParsed = read === 'all' ? () => true : type => !numerous.has(type)
  }

  get fingerprint(): string {
    return this.#fingerprint.text
  }

  readonly request: Requests['request'] = (...asked) => this.#requests.request(...asked)

  readonly dump: Requests['dump'] = (act, write, read, signal) => {
    const summed: typeof read = (buffer, start, end, type) => {
      const form = forms.get(type)
      if (form !== undefined) this.#fingerprint.add(form, buffer, start, end)
      return this.#isParsed(type) ? read(buffer, start, end, type) : undefined
    }
    return this.#requests.dump(act, write, summed, signal)
  }
}
