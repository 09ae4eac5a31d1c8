import type { NodeDocuments } from '../../diagnose/node_documents.ts'
import { parseLogLevel } from '../log/log_level.ts'
import type { LeveledLog } from '../log/logger.ts'
import type { DetailSource } from './details.ts'
import type { LocalApi } from './local_api.ts'

/** Requests that an agent answers. */
export interface AskedAgent {
  /** Throws NotReadyError before it has a lease. */
  documents(): Promise<NodeDocuments>
  /** Checks all entries of the node and repairs them; resolves when done. */
  repair(reason: string, signal: AbortSignal): Promise<void>
}

/** The local API of one agent. Its documents are loaded on the first request. */
export function nodeApi(agent: AskedAgent, log: LeveledLog): LocalApi {
  return {
    documents: {
      status: async (_, signal) => (await agent.documents()).status(signal),
      map: async (query, signal) => {
        const times = query.get('times')
        return (await agent.documents()).map(signal, times === null ? undefined : Number(times))
      },
      doctor: async (_, signal) => (await agent.documents()).doctor(signal),
      diff: async (_, signal) => (await agent.documents()).diff(signal),
      trace: async (query, signal) =>
        (await agent.documents()).trace(query.get('from') ?? '', query.get('to') ?? '', signal),
      peers: async (_, signal) => (await agent.documents()).peers(signal),
      probe: async (query, signal) => (await agent.documents()).probe(query.get('peer') ?? '', signal),
      loglevel: async () => ({ level: log.level }),
    },
    acts: {
      loglevel: async query => {
        const level = parseLogLevel(query.get('level') ?? '')
        log.info({ from: log.level, to: level }, 'the log level is changed over the local API')
        log.level = level
        return { level }
      },
      fix: async (_, signal) => {
        const documents = await agent.documents()
        const before = await documents.diff(signal)
        await agent.repair('an operator asks for it: twill diff --fix', signal)
        return { before, after: await documents.diff(signal) }
      },
    },
  }
}

/** What the HTTP port shows of the agent, without a request to the store. */
export function nodeDetails(agent: AskedAgent, toAll: boolean): DetailSource {
  return {
    toAll,
    status: async signal => (await agent.documents()).status(signal),
    map: async signal => (await agent.documents()).map(signal, 0),
  }
}
