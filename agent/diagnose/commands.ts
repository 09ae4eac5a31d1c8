import { shellQuote } from '../../lease/common/shell_quote.ts'
import { familyOf } from '../../lease/net/ip.ts'
import type { Entry, Link } from '../state/entry.ts'
import { needsRebuild, type Operation } from '../state/operation.ts'
import { printEntry } from '../state/print.ts'
import { ipOption } from './settings.ts'

/** As ip(8) and bridge(8) commands, one a line. Shell-quoted: a device name may be foreign input. */
export function printCommands(operation: Operation): readonly string[] {
  // No word holds a blank: the kernel allows none in a device's name (dev_valid_name()).
  return commandsFor(operation).map(line => shellQuote(...line.split(' ')))
}

function commandsFor(operation: Operation): readonly string[] {
  const { verb, entry } = operation
  if (verb === 'delete') return [command('delete', entry)]
  if (entry.kind !== 'link') return [command('replace', entry)]
  const was = operation.verb === 'replace' && operation.was.kind === 'link' ? operation.was : undefined
  if (was === undefined) return creation(entry)
  if (needsRebuild(was, entry)) return [command('delete', entry), ...creation(entry)]
  const { name, mac, deviceMtu, up } = entry
  return [`ip link set ${name} address ${mac} mtu ${deviceMtu} ${up ? 'up' : 'down'}`]
}

function creation(link: Link): string[] {
  const { vni, port, local, underlay, learning, gbp } = link.vxlan
  const options = [learning ? 'learning' : 'nolearning', ...(gbp ? ['gbp'] : [])].join(' ')
  return [
    `ip link add ${link.name} address ${link.mac} mtu ${link.deviceMtu} type vxlan id ${vni} local ${local} dev ${underlay} dstport ${port} ${options}`,
    `ip link set ${link.name} up`,
  ]
}

/** `replace` adds what a deletion need not name. */
function command(verb: 'replace' | 'delete', entry: Entry): string {
  const more = (words: string) => (verb === 'replace' ? words : '')
  switch (entry.kind) {
    case 'link':
      return `ip link ${verb} ${entry.name}`
    case 'address':
      return `ip address ${verb} ${entry.address}/${entry.length} dev ${entry.dev}`
    case 'fdb':
      return `bridge fdb ${verb} ${entry.mac} dev ${entry.dev} dst ${entry.dst} self${more(' permanent')}`
    case 'neighbor':
      return `ip neighbor ${verb} ${entry.address} dev ${entry.dev}${more(` lladdr ${entry.mac} nud permanent`)}`
    case 'route':
      return `ip ${ipOption[familyOf(entry.dst)]}route ${verb} ${printEntry(entry).slice('route '.length)}`
  }
}
