import { allFamilies, type Family, familyOf } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'
import { falseOnFailure, type RunCommand } from './command.ts'
import type { FirewallMode, Outcome, Overlay } from './mode.ts'
import { listTable, runNft, withoutTable } from './nft.ts'
import { type FirewallWish, isForeign, nftTable, printNftTable, suffixOf } from './rules.ts'

/** Our rules in nftables: a table of our own for each family, replaced whole, in one transaction. */
export class NftMode implements FirewallMode {
  readonly name = 'nft'
  readonly usesNftables = true
  readonly #wish: FirewallWish
  readonly #run: RunCommand
  /** How nft printed a table right after this agent wrote it: releases print the same rule differently. */
  readonly #printed = new Map<string, { readonly wanted: string; readonly printed: string }>()
  /** Suffixes to flanneld's names, by network, where another network has these names. */
  readonly #suffixes = new Map<Prefix, string>()
  #first = true

  constructor(wish: FirewallWish, run: RunCommand) {
    this.#wish = wish
    this.#run = run
  }

  async converge(overlay: Overlay, own: readonly Prefix[], signal: AbortSignal): Promise<Outcome> {
    let changed = false
    if (this.#first) {
      const absent = allFamilies.filter(
        family => !overlay.some(({ network }) => familyOf(network) === family),
      )
      changed = await this.#removeFrom(absent, own, signal)
    }
    for (const family of overlay) changed = (await this.#converge(family, own, signal)) || changed
    this.#first = false
    return {
      changed,
      warning: this.#wish.forwardRules ? await this.#dropWarning(signal) : undefined,
      names: overlay.map(({ network }) => nftTable(familyOf(network), this.#suffixes.get(network))),
    }
  }

  async removeAll(networks: readonly Prefix[], signal: AbortSignal): Promise<boolean> {
    return await this.#removeFrom(allFamilies, networks, signal)
  }

  async #converge(family: FamilySubnet, own: readonly Prefix[], signal: AbortSignal): Promise<boolean> {
    const name = await this.#tableFor(family.network, own, signal)
    const wanted = printNftTable(family, this.#wish, this.#suffixes.get(family.network))
    if (wanted === undefined)
      return this.#first && (await falseOnFailure(() => this.#remove(name, own, signal)))
    const actual = await listTable(this.#run, name, signal)
    if (actual === wanted) return false
    const known = this.#printed.get(name)
    if (known !== undefined && known.wanted === wanted && known.printed === actual) return false
    await runNft(this.#run, `${withoutTable(name)}${wanted}`, signal)
    this.#printed.set(name, { wanted, printed: (await listTable(this.#run, name, signal)) ?? '' })
    return true
  }

  /** Uses flanneld's name, or a name with a suffix from the time that another network has the former. */
  async #tableFor(network: Prefix, own: readonly Prefix[], signal: AbortSignal): Promise<string> {
    const family = familyOf(network)
    const further = nftTable(family, suffixOf(network))
    if (this.#suffixes.has(network)) return further
    const first = nftTable(family, '')
    const isTaken = isForeign((await listTable(this.#run, first, signal)) ?? '', own)
    if (!isTaken && !(this.#first && (await listTable(this.#run, further, signal)) !== undefined))
      return first
    this.#suffixes.set(network, suffixOf(network))
    return further
  }

  async #removeFrom(
    which: readonly Family[],
    networks: readonly Prefix[],
    signal: AbortSignal,
  ): Promise<boolean> {
    let changed = false
    for (const family of which) {
      const own = networks.filter(network => familyOf(network) === family)
      for (const suffix of ['', ...own.map(suffixOf)])
        changed = (await falseOnFailure(() => this.#remove(nftTable(family, suffix), own, signal))) || changed
    }
    return changed
  }

  async #remove(table: string, own: readonly Prefix[], signal: AbortSignal): Promise<boolean> {
    const actual = await listTable(this.#run, table, signal)
    if (actual === undefined || isForeign(actual, own)) return false
    await runNft(this.#run, withoutTable(table), signal)
    return true
  }

  /** A packet passes only where every base chain of the hook accepts it (nft(8), "VERDICT STATEMENT"). */
  async #dropWarning(signal: AbortSignal): Promise<string | undefined> {
    const output = await this.#run(['nft', 'list', 'chains'], '', signal)
    const chains = output === 'missing' ? [] : droppingChains(output.stdout)
    if (chains.length === 0) return undefined
    return (
      `Packets that ${chains.join(', ')} does not accept are dropped there, whatever our own table accepts: ` +
      'accept the overlay in it, or set EnableNFTables to false in the network config'
    )
  }
}

/** Base chains on the forward hook with policy drop, as `ip filter FORWARD`, in `nft list chains`. */
export function droppingChains(listing: string): readonly string[] {
  let [table, chain] = ['', '']
  return listing.split('\n').flatMap(line => {
    table = /^table (.+) \{/.exec(line)?.[1] ?? table
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain
    return / hook forward .*policy drop;/.test(line) ? [`${table} ${chain}`] : []
  })
}
