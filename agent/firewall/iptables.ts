import type { Family } from '../../lease/net/ip.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import { FirewallError, type RunCommand, refusal } from './command.ts'
import { iptablesOf } from './family_words.ts'
import { blockedBy, type IptablesState, planIptables } from './iptables_plan.ts'
import { type IptablesChain, isForeign } from './rules.ts'

/** A node can have two kinds of iptables: `iptables` is one of them, and the suffix names the other. */
export type IptablesSuffix = '' | '-nft' | '-legacy'

/** How long to wait, in seconds, while another program holds the xtables lock, before trying later. */
const LOCK_SECONDS = 10

export interface IptablesOutcome {
  readonly changed: boolean
  /** Another program's rule before our accepts that makes them ineffective; undefined where there is none. */
  readonly blockedBy: string | undefined
  /** True where the chains hold another network's rules: then nothing was changed. */
  readonly foreign: boolean
}

/** iptables or ip6tables of one kind: changes our chains in one transaction a table where they differ. */
export class Iptables {
  readonly #run: RunCommand
  readonly #program: string
  /** The rules as printed after our last change, by chain: releases of iptables print them differently. */
  readonly #printed = new Map<string, string>()

  constructor(run: RunCommand, family: Family, suffix: IptablesSuffix) {
    this.#run = run
    this.#program = `${iptablesOf[family]}${suffix}`
  }

  /** Rules in the chains that name an `own` network are ours. `first`: see planIptables. */
  async converge(
    chains: readonly IptablesChain[],
    own: readonly Prefix[],
    first: boolean,
    signal: AbortSignal,
  ): Promise<IptablesOutcome> {
    const plans: string[] = []
    let blocker: string | undefined
    for (const desired of chains) {
      const state = await this.#read(desired, signal)
      if (isForeign((state.chain ?? []).join('\n'), own))
        return { changed: false, blockedBy: undefined, foreign: true }
      const planned = planIptables(desired, this.#recognise(desired, state), first)
      if (desired.table === 'filter' && desired.rules.length > 0 && !(first && planned.length > 0))
        blocker = blockedBy(desired, state.parent)
      plans.push(...planned)
    }
    if (plans.length === 0) return { changed: false, blockedBy: blocker, foreign: false }
    await this.#restore(plans, signal)
    await this.#remember(chains, signal)
    return { changed: true, blockedBy: blocker, foreign: false }
  }

  async hasAny(chains: readonly { table: string; chain: string }[], signal: AbortSignal): Promise<boolean> {
    for (const { table, chain } of chains)
      if ((await this.#list(table, chain, signal)) !== undefined) return true
    return false
  }

  async #read({ table, parent, chain }: IptablesChain, signal: AbortSignal): Promise<IptablesState> {
    return {
      parent: (await this.#list(table, parent, signal)) ?? [],
      chain: await this.#list(table, chain, signal),
    }
  }

  /** Rules of the chain; undefined where it does not exist. */
  async #list(table: string, chain: string, signal: AbortSignal): Promise<readonly string[] | undefined> {
    const program = this.#program
    const command = [program, '--wait', `${LOCK_SECONDS}`, '--table', table, '--list-rules', chain]
    const output = await this.#run(command, '', signal)
    if (output === 'missing') throw missing(program)
    if (output.code !== 0) {
      if (noChain.test(output.stderr)) return undefined
      throw refusal(`Cannot read chain ${chain} of ${program}`, output)
    }
    return output.stdout.split('\n').filter(line => line.startsWith('-A '))
  }

  /** Rules that this agent wrote count as desired, however iptables prints them. */
  #recognise(desired: IptablesChain, state: IptablesState): IptablesState {
    const same = this.#printed.get(desired.chain) === key(desired, state.chain)
    return same ? { ...state, chain: desired.rules } : state
  }

  async #restore(lines: readonly string[], signal: AbortSignal): Promise<void> {
    const program = `${this.#program}-restore`
    const command = [program, '--noflush', '--wait', `${LOCK_SECONDS}`]
    const output = await this.#run(command, `${lines.join('\n')}\n`, signal)
    if (output === 'missing') throw missing(program)
    if (output.code !== 0) throw refusal(`Cannot change rules by ${program}`, output)
  }

  async #remember(chains: readonly IptablesChain[], signal: AbortSignal): Promise<void> {
    this.#printed.clear()
    for (const desired of chains)
      if (desired.rules.length > 0)
        this.#printed.set(desired.chain, key(desired, (await this.#read(desired, signal)).chain))
  }
}

/** How releases of both kinds say that a chain does not exist; iptables-nft 1.8.9 calls it incompatible. */
const noChain =
  /No chain\/target\/match|does not exist|No such file|chain `[^']*' in table `[^']*' is incompatible/

function key(desired: IptablesChain, actual: readonly string[] | undefined): string {
  return JSON.stringify([desired.rules, actual])
}

function missing(program: string): FirewallError {
  return new FirewallError(
    `${program} is not installed: install iptables, or set EnableNFTables to true in the network config`,
  )
}
