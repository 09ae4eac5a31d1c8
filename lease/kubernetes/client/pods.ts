import { ExpectedError, isUnexpected, messageOf } from '../../common/errors.ts'
import { at, textAt } from '../../json/path.ts'
import { AddressError, type Ip, parseIp } from '../../net/ip.ts'
import type { ApiClient } from './api_client.ts'

/** One try. Rejects with an ApiError: 404 if there is no such pod, 403 without the right to get pods. */
export async function getPod(
  api: ApiClient,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<unknown> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`
  return await api.json({ action: { verb: 'get', resource: 'pods' }, method: 'GET', path }, signal)
}

/** The API server did not answer, so the pod's addresses are unknown. */
class PodUnseenError extends ExpectedError {
  override name = 'PodUnseenError'
}

/**
 * The pod's addresses, one try; empty for a pod that has none yet. Rejects as getPod, and with
 * PodUnseenError.
 */
export async function podAddresses(...request: Parameters<typeof getPod>): Promise<readonly Ip[]> {
  try {
    return addressesOf(await getPod(...request))
  } catch (cause) {
    if (!isUnexpected(cause)) throw cause
    throw new PodUnseenError(messageOf(cause), { cause })
  }
}

/** The addresses in status.podIPs, or in status.podIP before Kubernetes 1.16. */
function addressesOf(pod: unknown): readonly Ip[] {
  const all = at(pod, 'status', 'podIPs')
  const texts = Array.isArray(all) ? all.map(one => textAt(one, 'ip')) : [textAt(pod, 'status', 'podIP')]
  return texts.flatMap(text => {
    try {
      return text === undefined ? [] : [parseIp(text)]
    } catch (error) {
      if (error instanceof AddressError) return []
      throw error
    }
  })
}
