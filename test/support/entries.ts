import type { Entry, Link } from '../../agent/state/entry.ts'
import { printEntry } from '../../agent/state/print.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { parseMac } from '../../lease/net/mac.ts'
import { networkAddress, type Prefix, parsePrefix, prefixLength } from '../../lease/net/prefix.ts'

/**
 * The entry that prints as this text, so that a test names kernel entries as iproute2 does. Throws where the
 * text is no entry, or the entry prints differently.
 */
export function entry(text: string): Entry {
  const [kind, ...words] = text.split(' ')
  const made = parse(kind ?? '', words)
  if (made === undefined || printEntry(made) !== text)
    throw new Error(
      `Cannot parse entry '${text}'${made === undefined ? '' : `: it prints '${printEntry(made)}'`}`,
    )
  return made
}

export function entries(text: string): Entry[] {
  return text
    .trim()
    .split('\n')
    .map(line => entry(line.trim()))
}

/** A link; throws for anything else. */
export function link(text: string): Link {
  const made = entry(text)
  if (made.kind !== 'link') throw new Error(`Not a link: '${text}'`)
  return made
}

function parse(kind: string, words: readonly string[]): Entry | undefined {
  const after = (word: string) => {
    const at = words.indexOf(word)
    return at < 0 ? undefined : words[at + 1]
  }
  const first = words[0] ?? ''
  const dev = after('dev') ?? ''
  switch (kind) {
    case 'link':
      return parseLink(first, words, after)
    case 'address': {
      const [ip = '', length] = first.split('/')
      return { kind, dev, address: parseIp(ip), length: Number(length) }
    }
    case 'fdb':
      return { kind, dev, mac: parseMac(first), dst: parseIp(after('dst') ?? '') }
    case 'neighbor':
      return { kind, dev, address: parseIp(first), mac: parseMac(after('lladdr') ?? '') }
    case 'route':
      return parseRoute(words, after)
    default:
      return undefined
  }
}

function parseLink(
  name: string,
  words: readonly string[],
  after: (word: string) => string | undefined,
): Entry {
  const known = words.findIndex(word => word === 'learning' || word === 'nolearning')
  const rest = words.slice(known + 1).filter(word => word !== 'gbp')
  return {
    kind: 'link',
    name,
    mac: parseMac(after('address') ?? ''),
    deviceMtu: Number(after('mtu')),
    up: after('state') === 'UP',
    vxlan: {
      vni: Number(after('id')),
      port: Number(after('dstport')),
      local: parseIp(after('local') ?? after('local6') ?? ''),
      underlay: after('dev') ?? '',
      learning: words[known] === 'learning',
      gbp: words.includes('gbp'),
      ...(rest.length > 0 ? { extra: rest.join(' ') } : {}),
    },
  }
}

const protocols: Readonly<Record<string, number>> = { kernel: 2, static: 4, ra: 9, dhcp: 16, bgp: 186 }

function parseRoute(words: readonly string[], after: (word: string) => string | undefined): Entry {
  const blackhole = words[0] === 'blackhole'
  const via = after('via')
  const protocol = after('proto')
  const dev = after('dev')
  const base = {
    kind: 'route' as const,
    dst: destination((blackhole ? words[1] : words[0]) ?? '', words.join(' ').includes(':')),
    metric: Number(after('metric') ?? 0),
    protocol: protocol === undefined ? 3 : (protocols[protocol] ?? Number(protocol)),
  }
  if (dev === undefined) return { ...base, type: blackhole ? 'blackhole' : 'other' }
  const onlink = words.includes('onlink')
  return { ...base, type: 'unicast', dev, via: via === undefined ? undefined : parseIp(via), onlink }
}

/** A destination: `default` in the family of the other words; a single host may omit its length. */
function destination(text: string, isIpv6: boolean): Prefix {
  if (text === 'default') return parsePrefix(isIpv6 ? '::/0' : '0.0.0.0/0')
  if (text.includes('/')) return exact(parsePrefix(text), text)
  return parsePrefix(`${text}/${isIpv6 ? 128 : 32}`)
}

function exact(prefix: Prefix, text: string): Prefix {
  if (text !== `${networkAddress(prefix)}/${prefixLength(prefix)}`)
    throw new Error(`Host bits are set in '${text}'`)
  return prefix
}
