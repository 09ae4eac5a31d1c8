import { existsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import type { Log } from '../../../lease/common/log.ts'
import { printable } from '../../../lease/common/printable.ts'
import type { Lease } from '../../../lease/lease.ts'
import type { StoreOptions } from '../../../lease/options.ts'
import { openStore } from '../../../lease/registry.ts'
import { openBackend } from '../../backend/registry.ts'
import { agentPath } from '../../config/flags.ts'
import { type FlagValues, seconds } from '../../config/go_flags.ts'
import type { NodeDocuments, NodeSource } from '../../diagnose/node_documents.ts'
import type { NodeView } from '../../diagnose/node_view.ts'
import { isHostsOwn } from '../../diagnose/own_host.ts'
import { type MapHead, mapHead, type StoreView, type SubnetMap, subnetMap } from '../../map/subnet_map.ts'
import type { CommandContext } from '../definition/command.ts'
import {
  AgentNotReadyError,
  agentAt,
  agentPresence,
  deniedAt,
  get,
  NoAgentError,
  readAgentFacts,
} from './agent_socket.ts'
import { readStoreOrLastSeen } from './last_seen.ts'
import { askStore } from './read_store.ts'
import { UnseenHostError } from './unseen_host.ts'
import type { WatchedStore } from './watch_map.ts'

export const nodeFlags = {
  'local-socket': agentPath('local-socket', '; none: do not ask the agent'),
  'subnet-file': agentPath('subnet-file'),
  'cache-file': agentPath('cache-file', ', for when the store is away'),
  timeout: seconds(0, 0, 'seconds to wait for an answer; 0: 4 for the store, 20 for the agent'),
}

const patienceMs = { store: 4_000, agent: 20_000 } as const

type NodeFlags = FlagValues<typeof nodeFlags> & { readonly 'probe-port'?: number }

export function timeoutMs({ timeout }: Pick<NodeFlags, 'timeout'>, who: keyof typeof patienceMs): number {
  return timeout === 0 ? patienceMs[who] : timeout * 1000
}

/** Answers from this host's agent if it runs, otherwise from store and kernel. */
export async function askNode<T>(
  values: NodeFlags,
  context: CommandContext,
  question: (node: NodeDocuments, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const byAgent = await askAgent(values, context, question)
  if (byAgent !== undefined) return byAgent.answer
  const { askHost } = await import('./local_source.ts')
  return await askHost(factsFor(values, context), node => question(node, signalFor(values)))
}

/** The map needs no kernel: outside the network's hosts it comes from the store alone. */
export async function askMap(
  values: NodeFlags,
  context: CommandContext,
  mostTimes: number,
  onRead: (head: MapHead, leases: number) => void,
): Promise<SubnetMap> {
  const byAgent = await askAgent(values, context, (node, signal) => node.map(signal, mostTimes))
  if (byAgent !== undefined) return byAgent.answer
  const { kind } = context.store()
  const view = await readLeases(values, context, mostTimes)
  onRead(mapHead(view), view.leases.table.size)
  if (!isHostOf(view)) return subnetMap(view, kind)
  const facts = { ...factsFor(values, context), readLeases: async () => view }
  // Loaded only here: loading the kernel's part takes as long as reading the leases.
  const { askHost } = await import('./local_source.ts')
  try {
    return await askHost(facts, node => node.map(signalFor(values), mostTimes))
  } catch (error) {
    if (error instanceof UnseenHostError) return subnetMap(view, kind)
    throw error
  }
}

/** Whether this host belongs to the network: it has an overlay device or a lease's public IP. */
function isHostOf({ network, leases }: StoreView): boolean {
  const all = Object.values(networkInterfaces()).flatMap(one => one ?? [])
  const own = new Set(all.map(({ address }) => address))
  const devices = openBackend(network).devices.map(name => `/proc/sys/net/ipv4/conf/${name}`)
  const isOwn = ({ subnets }: Lease) =>
    subnets.some(({ publicIp }) => isHostsOwn(publicIp) && own.has(publicIp))
  return devices.some(existsSync) || [...leases.table.values()].some(isOwn)
}

function readLeases(values: NodeFlags, context: CommandContext, mostTimes = 0): Promise<StoreView> {
  const patience = timeoutMs(values, 'store')
  return readStoreOrLastSeen(context.store(), values['cache-file'], patience, context.err, mostTimes)
}

function factsFor(values: NodeFlags, context: CommandContext) {
  const options = context.store()
  return {
    storeKind: options.kind,
    readLeases: () => readLeases(values, context),
    subnetFile: values['subnet-file'],
    timeoutMs: timeoutMs(values, 'agent'),
    probePort: values['probe-port'],
    agentAnswer: (view: NodeView, signal: AbortSignal) =>
      readAgentFacts(values['local-socket'], view, signal),
    podAddresses: options.kind === 'kubernetes' ? podsOf(options, timeoutMs(values, 'store')) : undefined,
  }
}

function podsOf(options: StoreOptions, patienceMs: number): NonNullable<NodeSource['podAddresses']> {
  const open = (log: Log) => openStore(options, log)
  return (namespace, name) =>
    askStore(open, patienceMs, async (store, says, signal) => {
      says(`read Pod ${namespace}/${name}`)
      return (await store.podAddresses?.(namespace, name, signal)) ?? []
    })
}

export function watchedStore(context: CommandContext): WatchedStore {
  const options = context.store()
  return { kind: options.kind, open: log => openStore(options, log) }
}

function signalFor(values: NodeFlags): AbortSignal {
  return AbortSignal.timeout(timeoutMs(values, 'agent'))
}

/** Undefined if flags name the store, no agent listens, or the agent has no lease yet, which is printed. */
async function askAgent<T>(
  values: NodeFlags,
  context: CommandContext,
  question: (node: NodeDocuments, signal: AbortSignal) => Promise<T>,
): Promise<{ readonly answer: T } | undefined> {
  const path = values['local-socket']
  if (context.namesStore) return undefined
  const presence = await agentPresence(path)
  if (presence === 'denied') context.err.write(`twill: ${printable(deniedAt(path), 4_000)}\n`)
  if (presence !== 'answers') return undefined
  try {
    return { answer: await question(agentAt(path), signalFor(values)) }
  } catch (error) {
    if (!(error instanceof AgentNotReadyError)) throw error
    context.err.write(`twill: the agent answers: ${printable(error.message, 4_000)}\n`)
    return undefined
  }
}

/** Sends the agent a command. Throws NoAgentError if none listens. */
export async function tellAgent<T>(
  values: Pick<NodeFlags, 'local-socket' | 'timeout'>,
  act: string,
  method: 'GET' | 'POST' = 'POST',
): Promise<T> {
  const path = values['local-socket']
  const presence = await agentPresence(path)
  if (presence === 'denied') throw new NoAgentError(deniedAt(path))
  if (presence === 'none')
    throw new NoAgentError(`No agent answers on '${path}': start twilld, or name its --local-socket`)
  return await get<T>(path, act, AbortSignal.timeout(timeoutMs(values, 'agent')), method)
}
