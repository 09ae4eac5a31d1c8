import { messageOf } from '../common/errors.ts'
import { nameFault } from '../json/faults.ts'
import { type Fields, field, fieldsOf, MAX_LEASE_BYTES, parseFields, printJson } from '../json/json.ts'
import { type Family, familyBits, familyOf, type Ip, ipFromNumber, ipToNumber, parseIp } from '../net/ip.ts'
import { contains, type Prefix, parsePrefix, prefixLength, prefixRange, prefixSize } from '../net/prefix.ts'
import { type FamilyNetwork, type NetworkConfig, NetworkConfigError, subnetSize } from './network_config.ts'
import { whyNoPods } from './special_networks.ts'

/**
 * `leased` (etcd): nodes divide the network by SubnetLen, SubnetMin and SubnetMax. `assigned` (Kubernetes):
 * by podCIDR; then these are not checked, and the result only says how flannel would divide it.
 */
export type SubnetSource = 'leased' | 'assigned'

/** What differs between the families. Lengths in bits. */
interface FamilyRules {
  readonly family: Family
  readonly enable: string
  readonly enabled: boolean
  readonly network: string
  readonly length: string
  readonly min: string
  readonly max: string
  readonly example: string
  readonly defaultLength: number
  readonly maxLength: number
  /** Prefix length of the smallest network that is allowed where no subnet length is given. */
  readonly maxNetworkLength: number
  /** Start of flannel's message for a smaller network. */
  readonly tooSmall: string
}

const familyRules: readonly FamilyRules[] = [
  {
    family: 'ipv4',
    enable: 'EnableIPv4',
    enabled: true,
    network: 'Network',
    length: 'SubnetLen',
    min: 'SubnetMin',
    max: 'SubnetMax',
    example: '10.244.0.0/16',
    defaultLength: 24,
    maxLength: 30,
    maxNetworkLength: 28,
    tooSmall: 'network',
  },
  {
    family: 'ipv6',
    enable: 'EnableIPv6',
    enabled: false,
    network: 'IPv6Network',
    length: 'IPv6SubnetLen',
    min: 'IPv6SubnetMin',
    max: 'IPv6SubnetMax',
    example: 'fd00:10:244::/48',
    defaultLength: 64,
    maxLength: 126,
    maxNetworkLength: 124,
    tooSmall: 'IPv6Network',
  },
]

/**
 * Parses flannel's JSON: keys in any case, null counts as missing, no Backend means VXLAN. Messages begin
 * with flannel's own sentence where it has one. Throws NetworkConfigError.
 */
export function parseNetworkConfig(
  text: string,
  { subnets = 'leased' }: { readonly subnets?: SubnetSource } = {},
): NetworkConfig {
  const fields = parse(text)
  const enabled = familyRules.filter(rules => flag(fields, rules.enable, rules.enabled))
  if (enabled.length === 0)
    throw new NetworkConfigError('EnableIPv4 and EnableIPv6 are both false: a network needs one of them')
  return {
    families: enabled.map(rules => parseFamily(fields, rules, subnets)),
    backend: parseBackend(field(fields, 'Backend')),
    enableNftables: flag(fields, 'EnableNFTables', false),
  }
}

/** The config, or why there is none. */
export function tryParseNetworkConfig(text: string): NetworkConfig | NetworkConfigError {
  try {
    return parseNetworkConfig(text)
  } catch (error) {
    if (error instanceof NetworkConfigError) return error
    throw error
  }
}

function parse(text: string): Fields {
  try {
    return parseFields(text)
  } catch (cause) {
    const why = (text.length <= MAX_LEASE_BYTES ? nameFault(text) : undefined) ?? messageOf(cause)
    const remedy = `write it like {"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}`
    throw new NetworkConfigError(`Cannot parse the network config: ${why}; ${remedy}`, { cause })
  }
}

function parseBackend(value: unknown): NetworkConfig['backend'] {
  if (value === undefined) return { type: 'vxlan', options: {} }
  const fields = fieldsOf(value)
  if (fields === undefined)
    throw new NetworkConfigError(`Backend is ${printJson(value)}: an object is needed, as {"Type":"vxlan"}`)
  const type = field(fields, 'Type') ?? ''
  if (typeof type !== 'string')
    throw new NetworkConfigError(`Backend.Type is ${printJson(type)}: a name is needed, as "vxlan"`)
  if (type === '')
    throw new NetworkConfigError('unknown backend type: Backend has no Type; name one, as "vxlan"')
  const options = Object.entries(value as object).filter(([key]) => key.toLowerCase() !== 'type')
  return { type: type.toLowerCase(), options: Object.fromEntries(options) }
}

function parseFamily(fields: Fields, rules: FamilyRules, subnets: SubnetSource): FamilyNetwork {
  const network = parseNetwork(fields, rules)
  const length = wholeNumber(fields, rules.length)
  const min = address(fields, rules.min, rules.family)
  const max = address(fields, rules.max, rules.family)
  if (subnets === 'assigned')
    return familyNetwork(rules.family, network, defaultLength(network, rules), undefined, undefined)
  checkLength(network, length, rules)
  const result = familyNetwork(rules.family, network, length ?? defaultLength(network, rules), min, max)
  checkBound(result, result.subnetMin, rules.min, rules)
  checkBound(result, result.subnetMax, rules.max, rules)
  if (ipToNumber(result.subnetMin) > ipToNumber(result.subnetMax))
    throw new NetworkConfigError(
      `${rules.min} ${result.subnetMin} is above ${rules.max} ${result.subnetMax}: no subnet is left; swap or widen them`,
    )
  return result
}

function parseNetwork(fields: Fields, rules: FamilyRules): Prefix {
  const value = field(fields, rules.network)
  const refuse = (what: string, cause?: unknown) =>
    new NetworkConfigError(
      `please define a correct ${rules.network} parameter in the flannel config: ${what}; ` +
        `set ${rules.network} to the range of all pods, as "${rules.example}", or ${rules.enable} to false`,
      { cause },
    )
  if (value === undefined) throw refuse('it is missing')
  if (typeof value !== 'string') throw refuse(`it is ${printJson(value)}`)
  if (familyOf(value) !== rules.family) throw refuse(`${printJson(value)} is of the other family`)
  try {
    const network = parsePrefix(value)
    const why = whyNoPods(network)
    if (why === undefined) return network
    throw refuse(why)
  } catch (cause) {
    throw cause instanceof NetworkConfigError ? cause : refuse(messageOf(cause), cause)
  }
}

/** As flannel: without SubnetMin the first subnet is left out, without SubnetMax all are used. */
function familyNetwork(
  family: Family,
  network: Prefix,
  subnetLength: number,
  min: Ip | undefined,
  max: Ip | undefined,
): FamilyNetwork {
  const { first, last } = prefixRange(network)
  const size = prefixSize(family, subnetLength)
  const second = first + size
  return {
    family,
    network,
    subnetLength,
    subnetMin: min ?? ipFromNumber(second > last ? first : second, family),
    subnetMax: max ?? ipFromNumber(last + 1n - size, family),
  }
}

function defaultLength(network: Prefix, rules: FamilyRules): number {
  const length = prefixLength(network)
  if (length <= rules.defaultLength - 2) return rules.defaultLength
  return Math.min(length + 2, familyBits(rules.family))
}

function checkLength(network: Prefix, length: number | undefined, rules: FamilyRules): void {
  const networkLength = prefixLength(network)
  if (length === undefined) {
    if (networkLength <= rules.maxNetworkLength) return
    const useful = `/${rules.maxNetworkLength}`
    throw new NetworkConfigError(
      `${rules.tooSmall} is too small. Minimum useful network prefix is ${useful}: ` +
        `${rules.network} is ${network}; widen it to ${useful} or more`,
    )
  }
  if (length > rules.maxLength)
    throw new NetworkConfigError(
      `SubnetLen must be less than /${rules.maxLength + 1}: ${rules.length} is ${length}; ` +
        `take one from ${networkLength + 2} to ${rules.maxLength}`,
    )
  if (length < networkLength + 2)
    throw new NetworkConfigError(
      `network must be able to accommodate at least four subnets: ${rules.length} is ${length} in ${rules.network} ` +
        `${network}; take ${networkLength + 2} or more, or widen ${rules.network}`,
    )
}

function checkBound(config: FamilyNetwork, bound: Ip, key: string, rules: FamilyRules): void {
  const { network, subnetLength, family } = config
  if (!contains(network, bound))
    throw new NetworkConfigError(
      `${key} is not in the range of the ${rules.network}: ${bound} is outside of ${network}; choose one inside`,
    )
  const size = subnetSize(config)
  const below = ipToNumber(bound) - (ipToNumber(bound) % size)
  if (ipToNumber(bound) !== below)
    throw new NetworkConfigError(
      `${key} is not on a SubnetLen boundary: ${bound}; with ${rules.length} ${subnetLength} ` +
        `the nearest below is ${ipFromNumber(below, family)}`,
    )
}

function address(fields: Fields, key: string, family: Family): Ip | undefined {
  const value = field(fields, key)
  if (value === undefined) return undefined
  try {
    if (typeof value === 'string' && familyOf(value) === family) return parseIp(value)
  } catch (cause) {
    throw new NetworkConfigError(`${key} is ${printJson(value)}: an address is needed`, { cause })
  }
  throw new NetworkConfigError(`${key} is ${printJson(value)}: an ${family} address in quotes is needed`)
}

/** Undefined where the key is missing or 0: Go does not tell them apart. */
function wholeNumber(fields: Fields, key: string): number | undefined {
  const value = field(fields, key) ?? 0
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value || undefined
  throw new NetworkConfigError(`${key} is ${printJson(value)}: a length in bits is needed, as 24`)
}

function flag(fields: Fields, key: string, fallback: boolean): boolean {
  const value = field(fields, key) ?? fallback
  if (typeof value === 'boolean') return value
  throw new NetworkConfigError(`${key} is ${printJson(value)}: true or false is needed, without quotes`)
}
