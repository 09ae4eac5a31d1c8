import { AddressError } from '../../lease/net/ip.ts'
import { contains, type Prefix, parsePrefix } from '../../lease/net/prefix.ts'

/** One network config of a container runtime. */
export interface CniConfigFile {
  readonly name: string
  /** JSON, unless its writer made a mistake. */
  readonly text: string
}

/** Plugins that call others: the networks that they use stand elsewhere. */
const metaPlugins: ReadonlySet<unknown> = new Set(['multus', 'multus-shim', 'genie', 'danm'])

/**
 * The config that a runtime uses, the first by name, where another one behind it is this network's: pods then get no address of this
 * network. Undefined if all is well, or no config is this network's.
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

/** Made by flannel's plugin, or by one with addresses of the network. */
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
