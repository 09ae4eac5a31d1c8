import { ExpectedError } from '../../lease/common/errors.ts'
import type { LeaseTable } from '../../lease/lease.ts'
import { AddressError, familyOf, type Ip, parseIp } from '../../lease/net/ip.ts'
import { addressAt, networkAddress } from '../../lease/net/prefix.ts'
import { openStore } from '../../lease/registry.ts'
import { openBackend } from '../backend/registry.ts'
import { bool, FlagError, int } from '../config/go_flags.ts'
import { printHop } from '../diagnose/hop.ts'
import { ownLease, underlayFacts } from '../diagnose/own_host.ts'
import { subnetMap } from '../diagnose/subnet_map.ts'
import { type Trace, trace as walk } from '../diagnose/trace.ts'
import { command } from './command.ts'
import { readHost } from './read_host.ts'
import { readStore } from './read_store.ts'

const flags = {
  json: bool(false, 'print JSON'),
  timeout: int(5, 'seconds to wait for the store'),
}

/** A hop of the way is broken. */
export class BrokenPathError extends ExpectedError {
  override name = 'BrokenPathError'
}

/**
 * `twill trace SRC DST`: addresses, or names of nodes, which stand for the node's own address in the overlay. Run it on the host of
 * SRC. Throws BrokenPathError where a hop is broken.
 */
export const trace = command(
  { flags, readsStore: true, operands: ['SRC', 'DST'] },
  async ({ json, timeout }, context) => {
    if (timeout < 1) throw new FlagError(`--timeout is ${timeout}: it must be at least 1`)
    const options = context.store()
    const signal = AbortSignal.timeout(timeout * 1000)
    const [facts, view] = await Promise.all([
      readHost(signal),
      readStore(log => openStore(options, log), timeout * 1000),
    ])
    const backend = openBackend(view.network)
    const { table } = view.leases
    const self = ownLease(facts, table, backend)
    const [from, to] = endpoints(context.operands, table)
    const refused = new Map(
      subnetMap(view, options.kind).leases.flatMap(({ node, refused }) =>
        refused === null ? [] : [[node, refused] as const],
      ),
    )
    const underlay =
      self === undefined
        ? { name: '?', underlayMtu: 0, publicIps: [], localIps: [], onLink: [] }
        : underlayFacts(facts, self, backend)
    const found = walk({ facts, backend, underlay, leases: table, self, refused }, from, to)
    context.out.write(json ? `${JSON.stringify(found, null, 2)}\n` : printTrace(found, facts.unseen))
    if (found.broken !== null) throw new BrokenPathError(`the way to ${to} breaks at: ${found.broken.step}`)
  },
)

export function printTrace({ from, to, peer, hops, broken }: Trace, unseen: readonly string[]): string {
  const title = `${from} -> ${to}${peer === null ? '' : ` (${peer})`}`
  const notes = unseen.map(what => `not seen: ${what}`)
  const end =
    broken === null
      ? 'This host is sound for this packet. The way back is seen by the same command on the other host.'
      : `Broken at: ${broken.step}${broken.why === undefined ? '' : `: ${broken.why}`}`
  return [title, ...hops.map(printHop), ...notes, end].join('\n').concat('\n')
}

/** Both of one family: where a name stands for several addresses, the other operand decides. */
function endpoints(operands: readonly string[], leases: LeaseTable): readonly [Ip, Ip] {
  const [src = [], dst = []] = operands.map(word => addressesOf(word, leases))
  for (const to of dst) {
    const from = src.find(ip => familyOf(ip) === familyOf(to))
    if (from !== undefined) return [from, to]
  }
  throw new FlagError(`${operands.join(' and ')} have no address family in common`)
}

function addressesOf(word: string, leases: LeaseTable): readonly Ip[] {
  const lease = leases.get(word)
  if (lease !== undefined) return lease.subnets.map(({ prefix }) => nodeAddress(prefix, lease.backendType))
  try {
    return [parseIp(word)]
  } catch (error) {
    if (!(error instanceof AddressError)) throw error
    throw new FlagError(
      `'${word}' is neither an IP address nor the name of a node: \`twill map\` lists the nodes`,
    )
  }
}

/** A VTEP has its subnet's network address; the first host address is the bridge's. */
function nodeAddress(prefix: Parameters<typeof networkAddress>[0], backendType: string): Ip {
  return backendType === 'vxlan' ? networkAddress(prefix) : addressAt(prefix, 1)
}
