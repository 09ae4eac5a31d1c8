import { ExpectedError } from '../../../lease/common/errors.ts'

/** The state of this host is unknown: iproute2 did not answer, or the host's own lease is unusable. */
export class UnseenHostError extends ExpectedError {
  override name = 'UnseenHostError'
}
