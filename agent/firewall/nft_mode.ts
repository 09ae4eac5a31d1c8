import { type Family, familyOf } from '../../lease/net/ip.ts'
import type { FamilySubnet } from '../../lease/node_subnets.ts'
import { FirewallError, quietly, type RunCommand, refusal } from './command.ts'
import type { FirewallMode, Outcome } from './mode.ts'
import { type FirewallWish, nftTable, printNftTable } from './rules.ts'

const families: readonly Family[] = ['ipv4', 'ipv6']

/** Tables of nftables that are all ours: read, compared, and replaced whole in one transaction where they differ. */
export class NftMode implements FirewallMode {
  readonly name = 'nft'
  readonly ofNftables = true
  readonly #wish: FirewallWish
  readonly #run: RunCommand
  /** How nft printed a table right after we wrote it: another release may do so in other words. */
  readonly #own = new Map<Family, { readonly wanted: string; readonly printed: string }>()
  #first = true

  constructor(wish: FirewallWish, run: RunCommand) {
    this.#wish = wish
    this.#run = run
  }

  async converge(overlay: readonly FamilySubnet[], signal: AbortSignal): Promise<Outcome> {
    let changed = false
    if (this.#first) {
      const absent = families.filter(family => !overlay.some(({ network }) => familyOf(network) === family))
      for (const family of absent) changed = (await quietly(() => this.#remove(family, signal))) || changed
    }
    for (const family of overlay) changed = (await this.#converge(family, signal)) || changed
    this.#first = false
    return { changed, warning: this.#wish.forwardRules ? await this.#dropWarning(signal) : undefined }
  }

  async removeAll(signal: AbortSignal): Promise<boolean> {
    let changed = false
    for (const family of families) changed = (await quietly(() => this.#remove(family, signal))) || changed
    return changed
  }

  async #converge(family: FamilySubnet, signal: AbortSignal): Promise<boolean> {
    const name = familyOf(family.network)
    const wanted = printNftTable(family, this.#wish)
    if (wanted === undefined) return this.#first && (await quietly(() => this.#remove(name, signal)))
    const actual = await this.#list(name, signal)
    if (actual === wanted) return false
    const own = this.#own.get(name)
    if (own !== undefined && own.wanted === wanted && own.printed === actual) return false
    await this.#write(`${withoutTable(name)}${wanted}`, signal)
    this.#own.set(name, { wanted, printed: (await this.#list(name, signal)) ?? '' })
    return true
  }

  async #remove(family: Family, signal: AbortSignal): Promise<boolean> {
    if ((await this.#list(family, signal)) === undefined) return false
    await this.#write(withoutTable(family), signal)
    return true
  }

  /** A packet passes only where every base chain of the hook lets it: nft(8), "VERDICT STATEMENT". */
  async #dropWarning(signal: AbortSignal): Promise<string | undefined> {
    const output = await this.#run(['nft', 'list', 'chains'], '', signal)
    const chains = output === 'missing' ? [] : droppingChains(output.stdout)
    if (chains.length === 0) return undefined
    return (
      `What is not accepted in ${chains.join(', ')} is dropped there, whatever our own table accepts: ` +
      'accept the overlay in it, or set EnableNFTables to false in the network config'
    )
  }

  /** Undefined where there is no such table. */
  async #list(family: Family, signal: AbortSignal): Promise<string | undefined> {
    const table = nftTable(family)
    const output = await this.#run(['nft', 'list', 'table', ...table.split(' ')], '', signal)
    if (output === 'missing') throw missing()
    if (output.code === 0) return output.stdout
    if (output.stderr.includes('No such file or directory')) return undefined
    throw refusal(`Cannot read nft table ${table}`, output)
  }

  async #write(text: string, signal: AbortSignal): Promise<void> {
    const output = await this.#run(['nft', '-f', '-'], text, signal)
    if (output === 'missing') throw missing()
    if (output.code !== 0) throw refusal('Cannot change rules by nft', output)
  }
}

/** `ip filter FORWARD`, as `nft list chains` tells it: base chains on the forward hook that drop by policy. */
export function droppingChains(listing: string): readonly string[] {
  let [table, chain] = ['', '']
  return listing.split('\n').flatMap(line => {
    table = /^table (.+) \{/.exec(line)?.[1] ?? table
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain
    return / hook forward .*policy drop;/.test(line) ? [`${table} ${chain}`] : []
  })
}

/** Deletes the table also where there is none: `destroy` is younger than nft 1.0.6. */
function withoutTable(family: Family): string {
  const table = nftTable(family)
  return `add table ${table}\ndelete table ${table}\n`
}

function missing(): FirewallError {
  return new FirewallError(
    'nft is not installed: install nftables, or set EnableNFTables to false in the network config',
  )
}
