import { ExpectedError } from '../../../lease/common/errors.ts'

/** The store did not answer in time. The message names the request and the store's error. */
export class StoreUnreachableError extends ExpectedError {
  override name = 'StoreUnreachableError'
}
