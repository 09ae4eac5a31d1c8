import { networkAddress } from '../../lease/net/prefix.ts'
import { bool, FlagError, int } from '../config/go_flags.ts'
import type { NodeView } from '../diagnose/node_view.ts'
import { judgeProbe, type ProbeResult, type ProbeTarget } from '../diagnose/probe_result.ts'
import { probe as probePeer } from '../probe/prober.ts'
import { nodeFlags, readOwnView } from './ask_node.ts'
import { type Column, printColumns } from './columns.ts'
import { type Command, command, type Output } from './command.ts'

const flags = {
  ...nodeFlags,
  json: bool(false, 'print JSON'),
  all: bool(false, 'all peers, as without a name'),
  'probe-port': int(8473, "the agents' --probe-port"),
}

/** So many peers at once: each costs some packets a second and one transfer of 1 MB. */
const AT_ONCE = 8
/** Of one peer; a path that carries less than it should takes longest. */
const PEER_MS = 30_000

/**
 * `twill probe [NODE]`: active checks of the way from this host to its peers, over the underlay and over the overlay. Exit code 1
 * where one of them finds something.
 */
export const probe: Command = command(
  { flags, readsStore: true, operands: ['[NODE]'] },
  async (values, context) => {
    const [wanted = ''] = context.operands

    const view = await readOwnView(values, context)
    const targets = targetsOf(view, values['probe-port']).filter(
      ({ node }) => wanted === '' || node === wanted,
    )
    if (targets.length === 0)
      throw new FlagError(
        wanted === '' ? 'this host has no peers' : `there is no peer '${wanted}': twill map lists the nodes`,
      )
    const results = await probeAll(targets, context.err)
    const findings = results.map((result, i) => judgeProbe(result, targets[i] as ProbeTarget))
    context.out.write(
      values.json
        ? `${JSON.stringify(
            results.map((result, i) => ({ ...result, finding: findings[i] ?? null })),
            null,
            2,
          )}\n`
        : printProbes(results, findings),
    )
    return findings.some(finding => finding !== undefined) ? 1 : 0
  },
)

function targetsOf({ self, leases, refused, backend, underlay }: NodeView, port: number): ProbeTarget[] {
  if (self === undefined) return []
  const { underlayMtu } = underlay
  const overlayMtu = backend.overlayMtu(underlay)
  return [...leases.table.values()]
    .filter(({ node }) => node !== self.node && !refused.has(node))
    .flatMap(({ node, subnets }) =>
      subnets.flatMap(({ prefix, publicIp }, i) => {
        const own = self.subnets[i]
        if (own === undefined) return []
        const [from, overlayIp] = [networkAddress(own.prefix), networkAddress(prefix)]
        return [{ node, publicIp, overlayIp, from, underlayMtu, overlayMtu, port }]
      }),
    )
}

async function probeAll(targets: readonly ProbeTarget[], err: Output): Promise<ProbeResult[]> {
  const results: ProbeResult[] = []
  let [next, done] = [0, 0]
  const work = async () => {
    for (let i = next++; i < targets.length; i = next++) {
      results[i] = await probePeer(targets[i] as ProbeTarget, AbortSignal.timeout(PEER_MS))
      done += 1
      if (err.isTTY === true) err.write(`\r${done} of ${targets.length} probed`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  if (err.isTTY === true) err.write('\r\x1b[K')
  return results
}

function printProbes(
  results: readonly ProbeResult[],
  findings: readonly ReturnType<typeof judgeProbe>[],
): string {
  const column = (head: string, cell: (result: ProbeResult) => string): Column => ({
    head,
    from: 0,
    cells: results.map(result => [cell(result)]),
  })
  const ms = (value: number | null) => (value === null ? 'no answer' : `${value.toFixed(2)} ms`)
  const size = (value: number | null) => (value === null ? '-' : String(value))
  const table = printColumns(
    [
      column('NODE', ({ node }) => node),
      column('UNDERLAY', ({ underlayMs }) => ms(underlayMs)),
      column('OVERLAY', ({ overlayMs }) => ms(overlayMs)),
      column(
        'CARRIES',
        ({ underlayCarries, overlayCarries }) => `${size(underlayCarries)} / ${size(overlayCarries)}`,
      ),
      column('BULK', ({ bulk }) =>
        bulk === null ? '-' : typeof bulk === 'string' ? bulk : `${bulk.mbitPerSecond.toFixed(0)} Mbit/s`,
      ),
    ],
    Number.POSITIVE_INFINITY,
  )
  const notes = findings.flatMap(finding => (finding ? [`${finding.what}\n  => ${finding.remedy}`] : []))
  return [...table, '', ...(notes.length > 0 ? notes : ['Every way is sound'])].join('\n').concat('\n')
}
