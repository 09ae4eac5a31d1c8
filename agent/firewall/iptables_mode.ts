import { type Family, familyOf } from '../../lease/net/ip.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'
import { quietly, type RunCommand } from './command.ts'
import { Iptables, type IptablesSuffix } from './iptables.ts'
import type { FirewallMode, Outcome } from './mode.ts'
import { type FirewallWish, iptablesChains, noIptablesChains } from './rules.ts'

export interface IptablesModeOptions extends FirewallWish {
  /** Put the jump to our accepts first in FORWARD where a rule in front of it rejects or drops everything. */
  readonly forwardFirst: boolean
}

const families: readonly Family[] = ['ipv4', 'ipv6']

/**
 * Chains of iptables. The kernel can hold two sets of them, nft's and legacy's; ours go where kube-proxy and the kubelet have
 * theirs, else where `iptables` puts them, and nowhere else.
 */
export class IptablesMode implements FirewallMode {
  readonly #options: IptablesModeOptions
  readonly #run: RunCommand
  #chosen: ReadonlyMap<Family, Iptables> | undefined
  #name = 'iptables'
  #ofNftables = false

  constructor(options: IptablesModeOptions, run: RunCommand) {
    this.#options = options
    this.#run = run
  }

  get name(): string {
    return this.#name
  }

  get ofNftables(): boolean {
    return this.#ofNftables
  }

  async converge(overlay: readonly FamilySubnet[], signal: AbortSignal): Promise<Outcome> {
    const { ipMasq, forwardRules, forwardFirst } = this.#options
    if (this.#chosen === undefined) return await this.#convergeFirst(overlay, signal)
    let [changed, blocker]: [boolean, string | undefined] = [false, undefined]
    if (!ipMasq && !forwardRules) return { changed, warning: undefined }
    for (const family of overlay) {
      const iptables = this.#chosen.get(familyOf(family.network))
      const chains = iptablesChains(family, this.#options)
      const outcome = await iptables?.converge(chains, { first: forwardFirst }, signal)
      changed = changed || (outcome?.changed ?? false)
      blocker ??= outcome?.blockedBy
    }
    return { changed, warning: blocker === undefined ? undefined : blockedWarning(blocker) }
  }

  async removeAll(signal: AbortSignal): Promise<boolean> {
    return await this.#removeFrom(await this.#sets(signal), families, signal)
  }

  async #convergeFirst(overlay: readonly FamilySubnet[], signal: AbortSignal): Promise<Outcome> {
    const sets = await this.#sets(signal)
    const chosen = (await this.#kubernetesSet(sets, signal)) ?? ''
    this.#name = `iptables${chosen}`
    this.#ofNftables = chosen === sets[0]
    const others = sets.filter(suffix => suffix !== chosen)
    const wanted = this.#options.ipMasq || this.#options.forwardRules
    const absent = families.filter(
      family => !wanted || !overlay.some(({ network }) => familyOf(network) === family),
    )
    const removed = await this.#removeFrom(others, families, signal)
    const cleared = await this.#removeFrom([chosen], absent, signal)
    this.#chosen = new Map(families.map(family => [family, new Iptables(this.#run, family, chosen)]))
    const { changed, warning } = await this.converge(overlay, signal)
    return { changed: changed || removed || cleared, warning }
  }

  /** The sets that are there, nft's first. A look at legacy's tables would make them, but not one by iptables-legacy-save. */
  async #sets(signal: AbortSignal): Promise<readonly IptablesSuffix[]> {
    const version = await this.#run(['iptables', '--version'], '', signal)
    const plainIsNft = version !== 'missing' && version.stdout.includes('nf_tables')
    const [nft, legacy]: readonly IptablesSuffix[] = plainIsNft ? ['', '-legacy'] : ['-nft', '']
    const sets: IptablesSuffix[] = nft === undefined ? [] : [nft]
    for (const program of [`iptables${legacy}-save`, `ip6tables${legacy}-save`]) {
      const saved = await this.#run([program], '', signal)
      if (saved !== 'missing' && /^\*(nat|filter)$/m.test(saved.stdout)) return [...sets, legacy ?? '']
    }
    return sets
  }

  async #kubernetesSet(
    suffixes: readonly IptablesSuffix[],
    signal: AbortSignal,
  ): Promise<IptablesSuffix | undefined> {
    for (const suffix of suffixes)
      if (await quietly(() => new Iptables(this.#run, 'ipv4', suffix).holdsKubernetes(signal))) return suffix
    return undefined
  }

  async #removeFrom(
    suffixes: readonly IptablesSuffix[],
    which: readonly Family[],
    signal: AbortSignal,
  ): Promise<boolean> {
    let changed = false
    for (const suffix of suffixes)
      for (const family of which) {
        const iptables = new Iptables(this.#run, family, suffix)
        const removal = () => iptables.converge(noIptablesChains, { first: false }, signal)
        changed = (await quietly(async () => (await removal()).changed)) || changed
      }
    return changed
  }
}

function blockedWarning(blocker: string): string {
  return `Rule '${blocker}' stands before our accepts in FORWARD: pods are cut off; --iptables-forward-first moves ours up`
}
