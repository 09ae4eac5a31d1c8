import { writeAddress } from '../../netlink/codec/address.ts'
import type { LinkMessage } from '../../netlink/codec/link.ts'
import type { MessageWriter } from '../../netlink/codec/message.ts'
import { writeDelFdb, writeDelNeighbor, writeNewFdb, writeNewNeighbor } from '../../netlink/codec/neighbor.ts'
import { writeDelRoute, writeNewRoute } from '../../netlink/codec/route.ts'
import { NetlinkError } from '../../netlink/errno.ts'
import type { NetlinkRequests } from '../../netlink/requests.ts'
import type { Link, Route } from '../../state/entry.ts'
import { type Operation, printOperation, type Result } from '../../state/operation.ts'
import { entryDevice } from '../../state/print.ts'
import { findLink } from '../snapshot/devices.ts'
import type { DeviceSettings } from './device_settings.ts'
import { type Dependent, explainEntry, explainPort } from './explain.ts'
import { DeviceError, deleteDevice, makeDevice } from './make_device.ts'
import { findHolders } from './route_holders.ts'

/** ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL: the entry to delete does not exist. */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL'])
/** #define ENODEV 19 */
const ENODEV = 19

/** A device as last reported by notifications, if at all: with its index, the kernel need not be asked. */
type KnownLink = (name: string) => LinkMessage | undefined

const noKnownLink: KnownLink = () => undefined

/** Applies in the given order: each device by itself, the entries between two devices in batches. */
export async function applyOperations(
  requests: NetlinkRequests,
  settings: DeviceSettings,
  operations: readonly Operation[],
  signal: AbortSignal,
  knownLink: KnownLink = noKnownLink,
): Promise<readonly Result[]> {
  const results: Result[] = []
  let pending: Operation[] = []
  let known = knownLink
  for (const operation of operations) {
    if (operation.entry.kind !== 'link') {
      pending.push(operation)
      continue
    }
    await applyBatch(requests, pending, results, known, signal)
    pending = []
    // A recreated device has another index.
    known = noKnownLink
    results.push(await applyLink(requests, settings, operation, operation.entry, signal))
  }
  await applyBatch(requests, pending, results, known, signal)
  return results
}

async function applyLink(
  requests: NetlinkRequests,
  settings: DeviceSettings,
  operation: Operation,
  link: Link,
  signal: AbortSignal,
): Promise<Result> {
  try {
    if (operation.verb === 'delete') await deleteDevice(requests, link.name, signal)
    else await makeDevice(requests, settings, link, signal)
    return { operation, error: undefined }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof NetlinkError && error.code === 'EADDRINUSE') {
      const reason = await explainPort(requests, link, signal)
      return { operation, error: new NetlinkError(actOf(operation), error.errno, reason) }
    }
    if (error instanceof NetlinkError) return { operation, error: error.during(actOf(operation)) }
    if (error instanceof DeviceError) return { operation, error }
    throw error
  }
}

async function applyBatch(
  requests: NetlinkRequests,
  operations: readonly Operation[],
  results: Result[],
  known: KnownLink,
  signal: AbortSignal,
): Promise<void> {
  if (operations.length === 0) return
  const links = await findLinks(requests, operations, known, signal)
  const steps: Step[] = []
  for (const operation of operations) addSteps(steps, operation, links)
  const answers = await send(requests, steps, signal)
  // The device was recreated, and its notification has not arrived yet.
  if (known !== noKnownLink && Array.from(answers.values()).some(refusal => refusal?.errno === ENODEV))
    return await applyBatch(requests, operations, results, noKnownLink, signal)
  const held = steps.flatMap(step => heldRoute(step, answers.get(step.operation)))
  const holders = await findHolders(requests, held, signal)
  const ours = held.filter(({ operation }) => holders.get(operation) === 'ours')
  const again = await send(
    requests,
    ours.map(step => ({ ...step, how: 'replace' as const })),
    signal,
  )
  for (const operation of operations) {
    const holder = holders.get(operation)
    const refusal = answers.has(operation)
      ? (holder === 'ours' ? again : answers).get(operation)
      : new NetlinkError('', ENODEV, `device ${entryDevice(operation.entry)} does not exist`)
    results.push({ operation, error: holder instanceof Error ? holder : errorOf(operation, refusal, links) })
  }
}

async function send(
  requests: NetlinkRequests,
  steps: readonly Step[],
  signal: AbortSignal,
): Promise<ReadonlyMap<Operation, NetlinkError | undefined>> {
  const answers = new Map<Operation, NetlinkError | undefined>()
  if (steps.length === 0) return answers
  const refusals = await requests.batch(
    steps.length,
    (writer, place) => {
      const step = steps[place]
      if (step !== undefined) writeStep(writer, step)
    },
    signal,
  )
  steps.forEach(({ operation, entry }, place) => {
    if (entry === operation.entry) answers.set(operation, refusals.get(place))
  })
  return answers
}

/** The step, where another route has the destination and metric of the one to add. */
function heldRoute(step: Step, refusal: NetlinkError | undefined): (Step & { readonly entry: Route })[] {
  const { how, entry } = step
  return how === 'add' && entry.kind === 'route' && refusal?.code === 'EEXIST' ? [{ ...step, entry }] : []
}

interface Step {
  readonly operation: Operation
  readonly entry: Dependent
  readonly index: number
  /** `delete destination`: deletes only this one of the MAC's destinations. */
  readonly how: 'add' | 'replace' | 'delete' | 'delete destination'
}

/** Adds the messages for one operation; none where its device does not exist. */
function addSteps(steps: Step[], operation: Operation, links: ReadonlyMap<string, LinkMessage>): void {
  const { entry, verb } = operation
  if (entry.kind === 'link') return
  const dev = entryDevice(entry)
  const index = dev === undefined ? 0 : links.get(dev)?.index
  if (index === undefined) return
  steps.push({ operation, entry, index, how: verb })
  // Replacing a destination changes the first one (vxlan_fdb_replace()) and leaves a second one that another
  // program appended.
  if (verb === 'replace' && operation.was.kind === 'fdb')
    steps.push({ operation, entry: operation.was, index, how: 'delete destination' })
}

/** The refusal, explained where it can be; undefined where an entry to delete does not exist: success. */
function errorOf(
  operation: Operation,
  refusal: NetlinkError | undefined,
  links: ReadonlyMap<string, LinkMessage>,
): NetlinkError | undefined {
  const { entry, verb } = operation
  if (refusal === undefined || (verb === 'delete' && ABSENT.has(refusal.code))) return undefined
  const mtu = links.get(entryDevice(entry) ?? '')?.mtu
  return (entry.kind === 'link' ? refusal : explainEntry(entry, refusal, mtu)).during(actOf(operation))
}

function actOf(operation: Operation): string {
  return `Cannot ${printOperation(operation)}`
}

async function findLinks(
  requests: NetlinkRequests,
  operations: readonly Operation[],
  known: KnownLink,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, LinkMessage>> {
  const names = new Set<string>()
  for (const { entry } of operations) {
    const dev = entryDevice(entry)
    if (dev !== undefined) names.add(dev)
  }
  const links = new Map<string, LinkMessage>()
  for (const name of names) {
    const link = known(name) ?? (await findLink(requests, name, signal))
    if (link !== undefined) links.set(name, link)
  }
  return links
}

function writeStep(writer: MessageWriter, { entry, index, how }: Step): void {
  const isDelete = how === 'delete' || how === 'delete destination'
  switch (entry.kind) {
    case 'address':
      writeAddress(writer, entry, index, isDelete ? 'delete' : 'replace')
      break
    case 'fdb':
      if (isDelete) writeDelFdb(writer, index, entry.mac, how === 'delete destination' ? entry : undefined)
      else writeNewFdb(writer, index, entry.mac, entry.dst)
      break
    case 'neighbor':
      if (isDelete) writeDelNeighbor(writer, index, entry.address)
      else writeNewNeighbor(writer, index, entry.address, entry.mac)
      break
    case 'route':
      if (isDelete) writeDelRoute(writer, entry, index)
      else writeNewRoute(writer, entry, index, how === 'add' ? 'add' : 'replace')
  }
}
