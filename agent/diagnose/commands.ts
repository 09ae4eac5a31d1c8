import { shellQuote } from '../../lease/common/shell_quote.ts'
import { familyOf } from '../../lease/net/ip.ts'
import type { Entry, Link } from '../state/entry.ts'
import type { Operation } from '../state/operation.ts'
import { needsRebuild } from '../state/operation.ts'
import { printEntry } from '../state/print.ts'

/**
 * An operation as ip(8) and bridge(8) commands, one a line. Shell-quoted: a device name may be foreign input.
 */
export function printCommands(operation: Operation): readonly string[] {
  // No word holds a blank: the kernel allows none in a device's name (dev_valid_name()).
  return commandsFor(operation).map(line => shellQuote(...line.split(' ')))
}

function commandsFor(operation: Operation): readonly string[] {
  const { verb, entry } = operation
  if (verb === 'delete') return [deletion(entry)]
  if (entry.kind !== 'link') return [replacement(entry)]
  const was = operation.verb === 'replace' && operation.was.kind === 'link' ? operation.was : undefined
  if (was === undefined) return creation(entry)
  return needsRebuild(was, entry) ? [deletion(entry), ...creation(entry)] : [change(entry)]
}

function creation(link: Link): string[] {
  const { vni, port, local, underlay, learning, gbp } = link.vxlan
  const options = [learning ? 'learning' : 'nolearning', ...(gbp ? ['gbp'] : [])].join(' ')
  return [
    `ip link add ${link.name} address ${link.mac} mtu ${link.deviceMtu} type vxlan id ${vni} local ${local} dev ${underlay} dstport ${port} ${options}`,
    `ip link set ${link.name} up`,
  ]
}

function change({ name, mac, deviceMtu, up }: Link): string {
  return `ip link set ${name} address ${mac} mtu ${deviceMtu} ${up ? 'up' : 'down'}`
}

function replacement(entry: Exclude<Entry, Link>): string {
  switch (entry.kind) {
    case 'address':
      return `ip address replace ${entry.address}/${entry.length} dev ${entry.dev}`
    case 'fdb':
      return `bridge fdb replace ${entry.mac} dev ${entry.dev} dst ${entry.dst} self permanent`
    case 'neighbor':
      return `ip neighbor replace ${entry.address} dev ${entry.dev} lladdr ${entry.mac} nud permanent`
    case 'route':
      return `ip ${side(entry.dst)}route replace ${withoutKind(entry)}`
  }
}

function deletion(entry: Entry): string {
  switch (entry.kind) {
    case 'link':
      return `ip link delete ${entry.name}`
    case 'address':
      return `ip address delete ${entry.address}/${entry.length} dev ${entry.dev}`
    case 'fdb':
      return `bridge fdb delete ${entry.mac} dev ${entry.dev} dst ${entry.dst} self`
    case 'neighbor':
      return `ip neighbor delete ${entry.address} dev ${entry.dev}`
    case 'route':
      return `ip ${side(entry.dst)}route delete ${withoutKind(entry)}`
  }
}

/** ip guesses the family from an address, but not from `default`. */
function side(dst: string): string {
  return familyOf(dst) === 'ipv6' ? '-6 ' : ''
}

function withoutKind(entry: Entry): string {
  return printEntry(entry).slice(entry.kind.length + 1)
}
