import { printable } from '../../lease/common/printable.ts'
import { printLease } from '../../lease/lease.ts'
import type { Entry } from '../state/entry.ts'
import { printEntry } from '../state/print.ts'
import { driftOf } from './diff_document.ts'
import type { AgentFacts, AgentSilence, NodeView } from './node_view.ts'

const LONGEST = 1_000

/** This node in ten lines. */
export interface StatusDocument {
  /** Null if no agent was heard. */
  readonly agent: { readonly version: string; readonly pid: number } | null
  /** Why this host's agent, which runs or may run, was not heard; null otherwise. */
  readonly agentSilence: string | null
  readonly node: string | null
  /** `10.244.1.0/24 at 192.168.0.7`. */
  readonly lease: string | null
  readonly backend: string
  /** The overlay's devices as ip prints them, and missing ones. */
  readonly devices: readonly string[]
  readonly underlay: { readonly name: string; readonly underlayMtu: number; readonly overlayMtu: number }
  readonly peers: { readonly known: number; readonly refused: number }
  readonly entries: { readonly desired: number; readonly actual: number; readonly drifted: number }
  /** Null if no agent answers. */
  readonly store: { readonly lastContactSeconds: number | null; readonly trouble: string | null } | null
  /** `as desired`, or the problem of this node's rules; null if no agent answers. */
  readonly firewall: string | null
  /** Why pods here may not reach their peers; empty: no problem is known. */
  readonly troubles: readonly string[]
  readonly next: string
}

/** `degraded`: there is a problem; `unknown`: no agent answers, and no other problem is known. */
export type Health = 'healthy' | 'degraded' | 'unknown'

export function statusDocument(
  view: NodeView,
  actual: readonly Entry[],
  answer: AgentFacts | AgentSilence | undefined,
  nowMs: number,
): StatusDocument {
  const agent = answer?.kind === 'answers' ? answer : undefined
  const silence = answer?.kind === 'answers' ? undefined : answer
  const { self, backend, underlay, desired, leases, refused } = view
  const drift = driftOf(desired, actual)
  const troubles = agent?.notReady ?? [
    ...(self === undefined ? ['this host has no lease'] : []),
    ...(drift.length > 0 ? [`${drift.length} entries differ from what is desired`] : []),
  ]
  return {
    agent: agent === undefined ? null : { version: agent.version, pid: agent.pid },
    agentSilence: silence?.why ?? null,
    node: self?.node ?? null,
    lease: self === undefined ? null : printLease(self),
    backend: backend.type,
    devices: backend.devices.map(name => printDevice(name, actual)),
    underlay: {
      name: underlay.name,
      underlayMtu: underlay.underlayMtu,
      overlayMtu: self === undefined ? 0 : backend.overlayMtu(underlay),
    },
    peers: { known: Math.max(0, leases.table.size - (self === undefined ? 0 : 1)), refused: refused.size },
    entries: { desired: desired.size, actual: actual.length, drifted: drift.length },
    store: agent === undefined ? null : storeOf(agent, nowMs),
    firewall: agent?.firewall ?? null,
    troubles,
    next: nextStep(agent, silence, troubles, drift.length),
  }
}

export function healthOf({ agent, troubles }: StatusDocument): Health {
  if (troubles.length > 0) return 'degraded'
  return agent === null ? 'unknown' : 'healthy'
}

/** One fact on each line: ten lines for a network with one family. */
export function printStatus(document: StatusDocument): string {
  const { agent, lease, backend, devices, underlay, peers, entries, store, troubles } = document
  const silence = document.agentSilence ?? 'none answers'
  const contact = store?.lastContactSeconds ?? null
  const lines: readonly (readonly [string, string])[] = [
    ['agent', agent === null ? silence : `twilld ${agent.version}, process ${agent.pid}`],
    ['lease', lease === null ? 'none' : `${lease}, node ${document.node}`],
    ...(devices.length > 0 ? devices : ['none']).map(device => ['device', `${backend}: ${device}`] as const),
    ['underlay', lease === null ? '-' : printUnderlay(underlay)],
    ['peers', `${peers.known}, ${peers.refused} of them refused`],
    ['entries', `${entries.desired} desired, ${entries.actual} in the kernel, ${entries.drifted} differ`],
    ['firewall', document.firewall ?? '-'],
    ['store', store?.trouble ?? (contact === null ? '-' : `answered ${contact} s ago`)],
    ...(troubles.length > 0 ? troubles : ['none']).map(trouble => ['trouble', trouble] as const),
    ['next', document.next],
  ]
  return lines.map(([name, text]) => `${name.padEnd(9)} ${printable(text, LONGEST)}\n`).join('')
}

function printUnderlay({ name, underlayMtu, overlayMtu }: StatusDocument['underlay']): string {
  return `${name} mtu ${underlayMtu}, overlay mtu ${overlayMtu}`
}

function printDevice(name: string, actual: readonly Entry[]): string {
  const device = actual.find(entry => entry.kind === 'link' && entry.name === name)
  return device === undefined ? `${name} does not exist` : printEntry(device).slice('link '.length)
}

function storeOf({ store }: AgentFacts, nowMs: number): StatusDocument['store'] {
  const { lastContactMs, trouble } = store
  return {
    lastContactSeconds: lastContactMs === undefined ? null : Math.round((nowMs - lastContactMs) / 1000),
    trouble: trouble ?? null,
  }
}

function nextStep(
  agent: AgentFacts | undefined,
  silence: AgentSilence | undefined,
  troubles: readonly string[],
  drifted: number,
): string {
  if (silence?.kind === 'unasked') return 'ask the agent too: run this as root, with its --local-socket'
  if (agent === undefined && silence === undefined)
    return 'start the agent: systemctl start twilld; see why it ended: journalctl -u twilld'
  if (drifted > 0) return 'see what differs: twill diff'
  if (troubles.length > 0) return 'fix the trouble above; twill doctor looks for its cause'
  return 'nothing: this node is well'
}
