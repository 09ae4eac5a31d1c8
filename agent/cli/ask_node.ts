import { request } from 'node:http'
import { ExpectedError, messageOf } from '../../lease/common/errors.ts'
import { openStore } from '../../lease/registry.ts'
import { FlagError, int, string } from '../config/go_flags.ts'
import { type NodeDocuments, nodeDocuments } from '../diagnose/node_documents.ts'
import type { NodeView } from '../diagnose/node_view.ts'
import { type SubnetMap, subnetMap } from '../diagnose/subnet_map.ts'
import type { CommandContext } from './command.ts'
import { readStoreOrLastSeen } from './last_seen.ts'
import { localSource } from './local_source.ts'
import type { WatchedStore } from './watch_map.ts'

/** Flags of every command that asks about a node. */
export const nodeFlags = {
  'local-socket': string('/run/twill/twilld.sock', "the agent's --local-socket; empty: do not ask the agent"),
  'subnet-file': string('/run/flannel/subnet.env', "the agent's --subnet-file"),
  'cache-file': string('/var/lib/twill/leases.json', "the agent's --cache-file, for when the store is away"),
  timeout: int(15, 'seconds to wait for an answer'),
}

interface NodeFlags {
  readonly 'local-socket': string
  readonly 'subnet-file': string
  readonly 'cache-file': string
  readonly timeout: number
}

/** The agent was asked and said no. */
class AgentRefusedError extends ExpectedError {
  override name = 'AgentRefusedError'
}

export function timeoutMs({ timeout }: NodeFlags): number {
  if (timeout < 1) throw new FlagError(`--timeout is ${timeout}: it must be at least 1`)
  return timeout * 1000
}

/** The answer of this host's agent where it runs, else one made from store and kernel. */
export async function askNode<T>(
  values: NodeFlags,
  context: CommandContext,
  question: (node: Awaited<ReturnType<typeof bound>>) => Promise<T>,
): Promise<T> {
  const agent = await agentAt(values, context)
  if (agent !== undefined) return await question(bound(agent, values))
  const source = await sourceOf(values, context)
  try {
    return await question(bound(nodeDocuments(source), values))
  } finally {
    source.close()
  }
}

/** This host as store and kernel tell it, for what the CLI does itself. */
export async function readOwnView(values: NodeFlags, context: CommandContext): Promise<NodeView> {
  const source = await sourceOf(values, context)
  try {
    return await source.view(AbortSignal.timeout(timeoutMs(values)))
  } finally {
    source.close()
  }
}

/** The map needs no kernel: from a laptop the store alone is asked. */
export async function askMap(values: NodeFlags, context: CommandContext): Promise<SubnetMap> {
  const agent = await agentAt(values, context)
  if (agent !== undefined) return await bound(agent, values).map()
  const options = context.store()
  const view = await readStoreOrLastSeen(options, values['cache-file'], timeoutMs(values), context.err)
  return subnetMap(view, options.kind)
}

function sourceOf(values: NodeFlags, context: CommandContext) {
  const options = context.store()
  const readView = () => readStoreOrLastSeen(options, values['cache-file'], timeoutMs(values), context.err)
  return localSource(options.kind, readView, values['subnet-file'], timeoutMs(values))
}

export function watchedStore(context: CommandContext): WatchedStore {
  const options = context.store()
  return { kind: options.kind, open: log => openStore(options, log) }
}

function bound(documents: NodeDocuments, values: NodeFlags) {
  const signal = AbortSignal.timeout(timeoutMs(values))
  return {
    status: () => documents.status(signal),
    map: () => documents.map(signal),
    diff: () => documents.diff(signal),
    trace: (from: string, to: string) => documents.trace(from, to, signal),
    doctor: () => documents.doctor(signal),
  }
}

/** Undefined where the store was named by flags, or no agent listens. */
async function agentAt(values: NodeFlags, context: CommandContext): Promise<NodeDocuments | undefined> {
  const path = values['local-socket']
  if (path === '' || context.namesStore) return undefined
  const ask = <T>(document: string, signal: AbortSignal) => get<T>(path, document, signal)
  try {
    await ask('', AbortSignal.timeout(timeoutMs(values)))
  } catch (error) {
    if (!(error instanceof AgentRefusedError)) return undefined
  }
  return {
    status: signal => ask('status', signal),
    map: signal => ask('map', signal),
    diff: signal => ask('diff', signal),
    doctor: signal => ask('doctor', signal),
    trace: (from, to, signal) => ask(`trace?${new URLSearchParams({ from, to })}`, signal),
  }
}

/** One document over the socket. Throws AgentRefusedError with the agent's words; others where nobody listens. */
function get<T>(socketPath: string, document: string, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: `/${document}`, signal }, response => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', reject)
      response.on('end', () => {
        try {
          const value = JSON.parse(Buffer.concat(parts).toString())
          if (response.statusCode === 200) resolve(value)
          else reject(new AgentRefusedError(String(value.error)))
        } catch (error) {
          reject(new AgentRefusedError(`the agent's answer cannot be read: ${messageOf(error)}`))
        }
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}
