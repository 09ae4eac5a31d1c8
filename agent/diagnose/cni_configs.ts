import { AddressError } from '../../lease/net/ip.ts'
import { contains, type Prefix, parsePrefix } from '../../lease/net/prefix.ts'

/** One network config of a container runtime. */
export interface CniConfigFile {
  readonly name: string
  /** JSON; may be malformed. */
  readonly text: string
}

/** Plugins that call other plugins, whose networks are named elsewhere. */
const metaPlugins: ReadonlySet<unknown> = new Set(['multus', 'multus-shim', 'genie', 'danm'])

/**
 * Finds the config that hides this network's: the container runtime uses the first by name (`first`), and
 * this network's sorts after it (`ours`), so that pods get no address of this network. Undefined if this
 * network's config is the first, or there is none.
 */
export function configAhead(
  configs: readonly CniConfigFile[],
  networks: readonly Prefix[],
): { readonly first: string; readonly ours: string } | undefined {
  const sorted = configs.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const ours = sorted.find(({ text }) => isOurs(text, networks))
  const [first] = sorted
  if (ours === undefined || first === undefined || first === ours) return undefined
  return pluginsOf(first.text).some(({ type }) => metaPlugins.has(type))
    ? undefined
    : { first: first.name, ours: ours.name }
}

/** Whether the config uses flannel's plugin, or a subnet of the network. */
function isOurs(text: string, networks: readonly Prefix[]): boolean {
  if (pluginsOf(text).some(({ type }) => type === 'flannel')) return true
  const prefixes = Array.from(text.matchAll(/"subnet"\s*:\s*"([^"]+)"/g), ([, prefix = '']) => prefix)
  return prefixes.some(prefix => isWithin(prefix, networks))
}

function isWithin(text: string, networks: readonly Prefix[]): boolean {
  try {
    const prefix = parsePrefix(text)
    return networks.some(network => contains(network, prefix))
  } catch (error) {
    if (error instanceof AddressError) return false
    throw error
  }
}

function pluginsOf(text: string): readonly { readonly type?: unknown }[] {
  try {
    const config: { readonly plugins?: unknown } = Object(JSON.parse(text))
    return (Array.isArray(config.plugins) ? config.plugins : [config]).map(Object)
  } catch (error) {
    if (error instanceof SyntaxError) return []
    throw error
  }
}
