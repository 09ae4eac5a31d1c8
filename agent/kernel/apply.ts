import { writeDelAddress, writeNewAddress } from '../netlink/address.ts'
import { NetlinkError } from '../netlink/errno.ts'
import type { MessageWriter } from '../netlink/message.ts'
import { writeDelFdb, writeDelNeighbor, writeNewFdb, writeNewNeighbor } from '../netlink/neighbor.ts'
import type { NetlinkRequests } from '../netlink/requests.ts'
import { writeDelRoute, writeNewRoute } from '../netlink/route.ts'
import type { Entry, Link } from '../state/entry.ts'
import { type Operation, printOperation, type Result } from '../state/operation.ts'
import { findLink } from './devices.ts'
import { DeviceError, deleteDevice, makeDevice } from './make_device.ts'

/** ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL: what shall go is not there. */
const NOT_THERE: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL'])
/** #define ENODEV 19 */
const ENODEV = 19

/** An entry that sits on a device or, like a blackhole route, on none; not a device itself. */
type Dependent = Exclude<Entry, Link>

/** Applies in the given order: devices one by one, all between two of them in batches. */
export async function applyOperations(
  requests: NetlinkRequests,
  operations: readonly Operation[],
  signal: AbortSignal,
): Promise<readonly Result[]> {
  const results: Result[] = []
  let pending: Operation[] = []
  for (const operation of operations) {
    if (operation.entry.kind !== 'link') {
      pending.push(operation)
      continue
    }
    await applyBatch(requests, pending, results, signal)
    pending = []
    results.push(await applyLink(requests, operation, operation.entry, signal))
  }
  await applyBatch(requests, pending, results, signal)
  return results
}

async function applyLink(
  requests: NetlinkRequests,
  operation: Operation,
  link: Link,
  signal: AbortSignal,
): Promise<Result> {
  try {
    if (operation.verb === 'delete') await deleteDevice(requests, link.name, signal)
    else await makeDevice(requests, link, signal)
    return { operation, error: undefined }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof NetlinkError) return { operation, error: error.during(act(operation)) }
    if (error instanceof DeviceError) return { operation, error }
    throw error
  }
}

async function applyBatch(
  requests: NetlinkRequests,
  operations: readonly Operation[],
  results: Result[],
  signal: AbortSignal,
): Promise<void> {
  if (operations.length === 0) return
  const indexes = await findIndexes(requests, operations, signal)
  const sent: { readonly entry: Dependent; readonly index: number; readonly operation: Operation }[] = []
  for (const operation of operations) {
    const { entry } = operation
    if (entry.kind === 'link') continue
    const index = entry.dev === undefined ? 0 : indexes.get(entry.dev)
    if (index !== undefined) sent.push({ entry, index, operation })
  }
  const refusals = await requests.batch(
    sent.length,
    (writer, place) => {
      const step = sent[place]
      if (step !== undefined) writeOperation(writer, step.operation.verb === 'delete', step.entry, step.index)
    },
    signal,
  )
  let place = 0
  for (const operation of operations) {
    const wasSent = sent[place]?.operation === operation
    const refusal = wasSent ? refusals.get(place) : new NetlinkError('', ENODEV, noDevice(operation.entry))
    if (wasSent) place++
    results.push({ operation, error: meant(operation, refusal) })
  }
}

/** Removing what is not there is success. */
function meant(operation: Operation, refusal: NetlinkError | undefined): NetlinkError | undefined {
  if (refusal === undefined || (operation.verb === 'delete' && NOT_THERE.has(refusal.code))) return undefined
  return refusal.during(act(operation))
}

function act(operation: Operation): string {
  return `Cannot ${printOperation(operation)}`
}

function noDevice(entry: Entry): string {
  return entry.kind === 'link' || entry.dev === undefined ? 'no device' : `device ${entry.dev} does not exist`
}

/** Indexes of the devices that operations name; those that do not exist are missing. */
async function findIndexes(
  requests: NetlinkRequests,
  operations: readonly Operation[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const names = new Set<string>()
  for (const { entry } of operations)
    if (entry.kind !== 'link' && entry.dev !== undefined) names.add(entry.dev)
  const indexes = new Map<string, number>()
  for (const name of names) {
    const link = await findLink(requests, name, signal)
    if (link !== undefined) indexes.set(name, link.index)
  }
  return indexes
}

function writeOperation(writer: MessageWriter, isDelete: boolean, entry: Dependent, index: number): void {
  switch (entry.kind) {
    case 'address': {
      const write = isDelete ? writeDelAddress : writeNewAddress
      write(writer, index, entry.address, entry.length)
      break
    }
    case 'fdb': {
      const write = isDelete ? writeDelFdb : writeNewFdb
      write(writer, index, entry.mac, entry.dst)
      break
    }
    case 'neighbor':
      if (isDelete) writeDelNeighbor(writer, index, entry.address)
      else writeNewNeighbor(writer, index, entry.address, entry.mac)
      break
    case 'route': {
      const write = isDelete ? writeDelRoute : writeNewRoute
      write(writer, entry, index)
    }
  }
}
