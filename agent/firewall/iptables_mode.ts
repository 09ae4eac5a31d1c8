import { allFamilies, type Family, familyOf } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'
import { falseOnFailure, type RunCommand } from './command.ts'
import { Iptables, type IptablesOutcome, type IptablesSuffix } from './iptables.ts'
import type { FirewallMode, Outcome, Overlay } from './mode.ts'
import { type FirewallWish, iptablesChains, noIptablesChains, suffixOf } from './rules.ts'

export interface IptablesModeOptions extends FirewallWish {
  /** Put the jump to our accepts first in FORWARD where a rule before it rejects or drops everything. */
  readonly forwardFirst: boolean
}

/** Chains of the kubelet and of kube-proxy. */
const KUBERNETES = [
  { table: 'mangle', chain: 'KUBE-IPTABLES-HINT' },
  { table: 'nat', chain: 'KUBE-POSTROUTING' },
]

/**
 * Our rules in iptables: in one of the kernel's two sets of chains, nft's and legacy's. It is the one that
 * kube-proxy and the kubelet use, else the one of `iptables`.
 */
export class IptablesMode implements FirewallMode {
  readonly #options: IptablesModeOptions
  readonly #run: RunCommand
  #chosen: ReadonlyMap<Family, Iptables> | undefined
  /** Suffixes to flanneld's names, by network, where another network has these names. */
  readonly #suffixes = new Map<Prefix, string>()
  name = 'iptables'
  usesNftables = false

  constructor(options: IptablesModeOptions, run: RunCommand) {
    this.#options = options
    this.#run = run
  }

  async converge(overlay: Overlay, own: readonly Prefix[], signal: AbortSignal): Promise<Outcome> {
    if (this.#chosen === undefined) return await this.#convergeFirst(overlay, own, signal)
    if (!this.#isWanted) return { changed: false, warning: undefined, names: [] }
    let [changed, blocker]: [boolean, string | undefined] = [false, undefined]
    for (const family of overlay) {
      const iptables = this.#chosen.get(familyOf(family.network))
      const outcome = iptables && (await this.#convergeFamily(iptables, family, own, signal))
      changed ||= outcome?.changed ?? false
      blocker ??= outcome?.blockedBy
    }
    const suffixes = new Set(overlay.map(({ network }) => this.#suffixes.get(network) ?? ''))
    const names = [...suffixes].flatMap(suffix => noIptablesChains(suffix).map(({ chain }) => chain))
    return { changed, warning: blocker === undefined ? undefined : blockedWarning(blocker), names }
  }

  get #isWanted(): boolean {
    return this.#options.ipMasq || this.#options.forwardRules
  }

  async removeAll(networks: readonly Prefix[], signal: AbortSignal): Promise<boolean> {
    return await this.#removeFrom(await this.#sets(signal), allFamilies, networks, signal)
  }

  /** Uses flanneld's names, or names with a suffix from the time that another network has the former. */
  async #convergeFamily(
    iptables: Iptables,
    family: FamilySubnet,
    own: readonly Prefix[],
    signal: AbortSignal,
  ): Promise<IptablesOutcome> {
    const converge = (suffix: string | undefined) => {
      const chains = iptablesChains(family, this.#options, suffix)
      return iptables.converge(chains, own, this.#options.forwardFirst, signal)
    }
    const { network } = family
    const suffix = this.#suffixes.get(network)
    const outcome = await converge(suffix)
    if (!outcome.foreign || suffix !== undefined) return outcome
    this.#suffixes.set(network, suffixOf(network))
    return await converge(suffixOf(network))
  }

  async #convergeFirst(overlay: Overlay, own: readonly Prefix[], signal: AbortSignal): Promise<Outcome> {
    const sets = await this.#sets(signal)
    const chosen = (await this.#kubernetesSet(sets, signal)) ?? ''
    this.name = `iptables${chosen}`
    this.usesNftables = chosen === sets[0]
    const others = sets.filter(suffix => suffix !== chosen)
    const wanted = this.#isWanted ? overlay : []
    const absent = allFamilies.filter(family => !wanted.some(({ network }) => familyOf(network) === family))
    const removed = await this.#removeFrom(others, allFamilies, own, signal)
    const cleared = await this.#removeFrom([chosen], absent, own, signal)
    const tables = new Map(allFamilies.map(family => [family, new Iptables(this.#run, family, chosen)]))
    for (const { network } of wanted)
      if (await tables.get(familyOf(network))?.hasAny(noIptablesChains(suffixOf(network)), signal))
        this.#suffixes.set(network, suffixOf(network))
    this.#chosen = tables
    const outcome = await this.converge(overlay, own, signal)
    return { ...outcome, changed: outcome.changed || removed || cleared }
  }

  /** Existing sets, nft's first. iptables-legacy-save creates no tables; other commands that read would. */
  async #sets(signal: AbortSignal): Promise<readonly IptablesSuffix[]> {
    const version = await this.#run(['iptables', '--version'], '', signal)
    const plainIsNft = version !== 'missing' && version.stdout.includes('nf_tables')
    const [nft, legacy]: readonly [IptablesSuffix, IptablesSuffix] = plainIsNft
      ? ['', '-legacy']
      : ['-nft', '']
    for (const program of [`iptables${legacy}-save`, `ip6tables${legacy}-save`]) {
      const saved = await this.#run([program], '', signal)
      if (saved !== 'missing' && /^\*(nat|filter)$/m.test(saved.stdout)) return [nft, legacy]
    }
    return [nft]
  }

  async #kubernetesSet(
    suffixes: readonly IptablesSuffix[],
    signal: AbortSignal,
  ): Promise<IptablesSuffix | undefined> {
    for (const suffix of suffixes)
      if (await falseOnFailure(() => new Iptables(this.#run, 'ipv4', suffix).hasAny(KUBERNETES, signal)))
        return suffix
    return undefined
  }

  async #removeFrom(
    sets: readonly IptablesSuffix[],
    which: readonly Family[],
    networks: readonly Prefix[],
    signal: AbortSignal,
  ): Promise<boolean> {
    let changed = false
    for (const set of sets)
      for (const family of which) {
        const iptables = new Iptables(this.#run, family, set)
        const own = networks.filter(network => familyOf(network) === family)
        for (const suffix of ['', ...own.map(suffixOf)]) {
          const removal = () => iptables.converge(noIptablesChains(suffix), own, false, signal)
          changed = (await falseOnFailure(async () => (await removal()).changed)) || changed
        }
      }
    return changed
  }
}

function blockedWarning(blocker: string): string {
  return `Rule '${blocker}' stands before our accepts in FORWARD: pods are cut off; --iptables-forward-first moves ours up`
}
