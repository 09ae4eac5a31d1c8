import { ExpectedError } from '../../../lease/common/errors.ts'

/** What this host has cannot be told: iproute2 did not answer, or its own lease is unusable. */
export class UnseenHostError extends ExpectedError {
  override name = 'UnseenHostError'
}
