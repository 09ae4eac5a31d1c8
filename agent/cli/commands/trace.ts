import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { isUnexpected } from '../../../lease/common/errors.ts'
import { sleep } from '../../../lease/common/sleep.ts'
import { DEFAULT_PROBE_PORT } from '../../config/flags.ts'
import { port } from '../../config/go_flags.ts'
import { type Hop, printHop } from '../../diagnose/trace/hop.ts'
import type { Trace, WayBack } from '../../diagnose/trace/trace.ts'
import { answer, command, outputFlags } from '../definition/command.ts'
import { askNode, nodeFlags } from '../source/ask_node.ts'

/** Time-out of the resolver: short, as the resolver may be broken too. */
const RESOLVE_MS = 1_000

const flags = {
  ...nodeFlags,
  ...outputFlags,
  'probe-port': port(DEFAULT_PROBE_PORT, "the agents' --probe-port, where no agent is asked; 0: ask no peer"),
}

/**
 * `twill trace SRC DST`: addresses, pods (NAMESPACE/NAME, with Kubernetes), or node names, which stand for
 * the node's own address in the overlay. Run it on the host of SRC. Exit code 1 for a broken hop, 2 if none
 * is broken but one could not be read, or without an answer.
 */
export const trace = command(
  { flags, readsStore: true, operands: ['<SRC>', '<DST>'], noAnswerCode: 2 },
  async (values, context) => {
    const [from = '', to = ''] = context.operands
    const ask = (words: readonly string[]) =>
      askNode(values, context, (node, signal) => node.trace(words[0] ?? '', words[1] ?? '', signal))
    const found = await ask([from, to]).catch(async error => {
      const resolved = await Promise.all([from, to].map(addressOf))
      if (isUnexpected(error) || resolved.join() === [from, to].join()) throw error
      return await ask(resolved)
    })
    answer(values, context.out, found, printTrace)
    if (found.broken !== null) return 1
    return hasUnknown([...found.hops, ...(found.back?.hops ?? [])]) ? 2 : 0
  },
)

/** The address that this host's resolver has for a name; the word itself if it has none. */
async function addressOf(word: string): Promise<string> {
  if (isIP(word) !== 0) return word
  const late = sleep(RESOLVE_MS, new AbortController().signal)
  const known = await Promise.race([lookup(word).catch(() => undefined), late])
  return known?.address ?? word
}

function printTrace(found: Trace): string {
  const { from, to, peer, hops, unseen, back } = found
  const title = `${from} -> ${to}${peer === null ? '' : ` (${peer})`}`
  const notes = unseen.map(what => `not seen: ${what}`)
  const lines = [title, ...hops.map(printHop), ...notes, ...printWayBack(back, peer), lastLine(found)]
  return lines.join('\n').concat('\n')
}

function printWayBack(back: WayBack | null, peer: string | null): readonly string[] {
  if (back === null || back.silent !== null) return []
  const { via, hops, unseen } = back
  const title = `The way back, as ${peer} sees it${via === null ? '' : ` (asked through ${via})`}`
  return [title, ...hops.map(printHop), ...unseen.map(what => `not seen on ${peer}: ${what}`)]
}

function lastLine({ peer, hops, broken, back }: Trace): string {
  if (broken !== null) {
    const place = hops.some(({ state }) => state === 'broken') ? '' : ` on ${peer}`
    return `Broken at: ${broken.step}${place}${broken.why === undefined ? '' : `: ${broken.why}`}`
  }
  if (hasUnknown(hops) || hasUnknown(back?.hops ?? []))
    return 'Nothing that was seen is broken, but not all was seen'
  if (back === null) return 'This host is sound for this packet.'
  if (back.silent === null) return 'Both hosts are sound for this packet and its answer.'
  return `This host is sound for this packet. ${peer} was not asked for the way back: ${back.silent}; run the same command there to see it.`
}

function hasUnknown(hops: readonly Hop[]): boolean {
  return hops.some(({ state }) => state === 'unknown')
}
