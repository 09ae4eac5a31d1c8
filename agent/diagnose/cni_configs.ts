import { orUndefined } from '../../lease/common/errors.ts'
import { contains, type Prefix, prefixOrUndefined } from '../../lease/net/prefix.ts'

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
  if (pluginsOf(first.text).some(({ type }) => metaPlugins.has(type))) return undefined
  return { first: first.name, ours: ours.name }
}

/** Whether the config uses flannel's plugin, or a subnet of the network. */
function isOurs(text: string, networks: readonly Prefix[]): boolean {
  if (pluginsOf(text).some(({ type }) => type === 'flannel')) return true
  const texts = Array.from(text.matchAll(/"subnet"\s*:\s*"([^"]+)"/g), ([, prefix = '']) => prefix)
  const prefixes = texts.flatMap(prefix => prefixOrUndefined(prefix) ?? [])
  return prefixes.some(prefix => networks.some(network => contains(network, prefix)))
}

function pluginsOf(text: string): readonly { readonly type?: unknown }[] {
  const config: { readonly plugins?: unknown } = Object(orUndefined(() => JSON.parse(text)))
  return (Array.isArray(config.plugins) ? config.plugins : [config]).map(Object)
}
