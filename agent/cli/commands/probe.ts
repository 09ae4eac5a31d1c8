import { messageOf } from '../../../lease/common/errors.ts'
import { printable } from '../../../lease/common/printable.ts'
import { DEFAULT_PROBE_PORT } from '../../config/flags.ts'
import { bool, FlagError, port } from '../../config/go_flags.ts'
import type { NodeDocuments } from '../../diagnose/node_documents.ts'
import type { ProbeDocument } from '../../diagnose/probes/probe_result.ts'
import { answer, command, outputFlags } from '../definition/command.ts'
import { type Column, printColumns } from '../output/columns.ts'
import type { Output } from '../output/output.ts'
import { askNode, nodeFlags } from '../source/ask_node.ts'

const flags = {
  ...nodeFlags,
  ...outputFlags,
  all: bool(false, 'all peers; the default without NODE'),
  wide: bool(false, 'print the sound ways too, where several were probed'),
  'probe-port': port(DEFAULT_PROBE_PORT, "the agents' --probe-port, where no agent is asked; 0: only ping"),
}

/** Longest reason why a peer was not probed, in characters: it names the peer and an error. */
const MESSAGE = 2_000
/** Peers probed at once: each costs some packets a second and one transfer of 1 MB. */
const AT_ONCE = 8
/** Time-out for one peer; a path that carries less than expected takes longest. */
const PEER_MS = 40_000
/** Time-out for all peers: those not probed by then are named. */
const ALL_MS = 120_000

const shape = { flags, readsStore: true, operands: ['[NODE]'], noAnswerCode: 2 }

/** `twill probe [NODE]`: exit code 1 for a finding, 2 if a check could not be made. */
export const probe = command(shape, async (values, context) => {
  const [wanted] = context.operands
  if (values.all && wanted !== undefined)
    throw new FlagError('--all and NODE exclude each other: leave one of them out')
  const { ways, missing } = await askNode(values, context, async (node, signal) =>
    probeAll(node, wanted === undefined ? await node.peers(signal) : [wanted], context.err),
  )
  const isWide = values.wide || ways.length < 2
  answer(values, context.out, ways, () => printProbes(ways, isWide))
  for (const what of missing) context.err.write(`twill: ${printable(what, MESSAGE)}\n`)
  if (ways.some(({ finding }) => finding !== null)) return 1
  return missing.length > 0 ? 2 : 0
})

/** `missing`: why a peer could not be probed, or not in time. */
async function probeAll(node: NodeDocuments, peers: readonly string[], err: Output) {
  const ways: ProbeDocument[][] = []
  const missing: string[] = []
  const untilMs = performance.now() + ALL_MS
  const left = peers.entries()
  let done = 0
  const work = async () => {
    for (const [i, peer] of left) {
      if (performance.now() > untilMs) missing.push(`${peer} was not probed within ${ALL_MS / 1000} s`)
      else
        try {
          ways[i] = [...(await node.probe(peer, AbortSignal.timeout(PEER_MS)))]
        } catch (error) {
          if (peers.length === 1) throw error
          missing.push(`${peer} was not probed: ${messageOf(error)}`)
        }
      done += 1
      if (err.isTTY === true) err.write(`\r${done} of ${peers.length} probed`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  if (err.isTTY === true) err.write('\r\x1b[K')
  return { ways: ways.flat(), missing }
}

/** One row for each way, and the findings below; sound ways are only counted unless `isWide`. */
function printProbes(ways: readonly ProbeDocument[], isWide: boolean): string {
  const unsound = ways.filter(({ finding }) => finding !== null)
  const sound = ways.length - unsound.length
  const shown = isWide ? ways : unsound
  const table = shown.length === 0 ? [] : [...printColumns(columnsOf(shown), Number.POSITIVE_INFINITY), '']
  const notes = unsound.flatMap(({ finding }) => (finding ? [`${finding.what}\n  => ${finding.remedy}`] : []))
  const summary = ways.length === 0 ? 'This host has no peers' : `${sound} of ${ways.length} ways are sound`
  return [...table, ...notes, summary].join('\n').concat('\n')
}

function deadIn({ there, back }: NonNullable<ProbeDocument['dead']>): string {
  if (there && back) return 'both ways'
  return there ? 'there' : back ? 'back' : 'for ping'
}

/** `there / back` if the peer's agent measures both. */
function columnsOf(ways: readonly ProbeDocument[]): readonly Column[] {
  const column = (head: string, cell: (way: ProbeDocument) => string): Column => ({
    head,
    rank: 0,
    cells: ways.map(way => [cell(way)]),
  })
  const ms = (value: number | null) => (value === null ? 'no answer' : `${value.toFixed(2)} ms`)
  const both = (there: number | null, back: number | null | undefined, unit = '') =>
    `${there ?? '-'} / ${back ?? '-'}${unit}`
  const percent = (share: number) => Math.round(share * 100)
  return [
    column('NODE', ({ node }) => node),
    column('UNDERLAY', way => `${ms(way.underlayMs)}, ${way.underlayCarries ?? '-'} bytes`),
    column('OVERLAY', ({ overlayMs, dead }) => (dead === null ? ms(overlayMs) : `dead ${deadIn(dead)}`)),
    column('CARRIES', ({ overlayCarries, ways }) => both(overlayCarries, ways?.carriesBack)),
    column('LOSS', ({ ways }) =>
      ways === null ? '-' : both(percent(ways.lossThere), percent(ways.lossBack), ' %'),
    ),
    column('BULK', ({ bulk }) =>
      bulk === null ? '-' : typeof bulk === 'string' ? bulk : `${bulk.mbitPerSecond.toFixed(0)} Mbit/s`,
    ),
  ]
}
