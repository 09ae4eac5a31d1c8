import type { Log } from '../../lease/common/log.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import type { Prefix } from '../../lease/net/prefix.ts'
import { bridgeWarning } from './bridge_netfilter.ts'
import { FirewallError, loggedCommands, type RunCommand, runCommand } from './command.ts'
import { IptablesMode, type IptablesModeOptions } from './iptables_mode.ts'
import type { FirewallMode, Overlay } from './mode.ts'
import { NftMode } from './nft_mode.ts'

export interface FirewallOptions extends IptablesModeOptions {
  /** The network config's EnableNFTables: nft instead of iptables. */
  readonly nftables: boolean
  readonly resyncMs: number
  /** A number that differs after any program changed nftables; undefined: the kernel does not report it. */
  readonly nftGeneration?: () => number | undefined
  readonly onChange?: () => void
  /** Networks that this node had in its previous run: their rules are ours too. */
  readonly previousNetworks?: readonly Prefix[]
}

/**
 * Our own chains (iptables) or tables (nft), with flanneld's rules. Checked every `resyncMs` and changed only
 * where they differ, so that a flushed or reloaded firewall gets them back soon. Runs no tool while the
 * kernel reports no change. Leaves all other rules alone. Our rules stay when the agent ends. Where another
 * network of this host has flanneld's names, ours get a suffix.
 */
export class Firewall {
  readonly #options: FirewallOptions
  readonly #log: Log
  readonly #mode: FirewallMode
  readonly #otherMode: FirewallMode
  readonly #due = new WakeUp()
  readonly #rightAgain = new WakeUp()
  #overlay: Overlay
  #written = false
  /** The nftables generation at which our rules were right. */
  #rightAtGeneration: number | undefined
  readonly #reported = new ReportOnce()
  /** Why pods cannot reach beyond the overlay; undefined where they can, or no masquerading is wanted. */
  trouble: string | undefined

  /** `overlay`: one a family. `run` runs the tools. */
  constructor(options: FirewallOptions, overlay: Overlay, log: Log, run: RunCommand = runCommand) {
    this.#options = options
    this.#log = log
    this.#overlay = overlay
    const logged = loggedCommands(log, run)
    const [iptables, nft] = [new IptablesMode(options, logged), new NftMode(options, logged)]
    this.#mode = options.nftables ? nft : iptables
    this.#otherMode = options.nftables ? iptables : nft
    if (options.ipMasq) this.trouble = 'the rules that masquerade are not in place yet'
  }

  setOverlay(overlay: Overlay): void {
    this.#overlay = overlay
    this.#rightAtGeneration = undefined
    this.#due.set()
  }

  /** Resolves once there is no trouble. For one caller only. Rejects with the signal's reason. */
  async inPlace(signal: AbortSignal): Promise<void> {
    while (this.trouble !== undefined) await this.#rightAgain.wait(Number.POSITIVE_INFINITY, signal)
  }

  /** Runs until the signal aborts. Reports a failing tool once, and tries again at the next check. */
  async keep(signal: AbortSignal): Promise<never> {
    const warning = await bridgeWarning(this.#overlay)
    if (warning !== undefined) this.#log.warn({}, warning)
    for (;;) {
      await this.pass(signal)
      await this.#due.wait(this.#options.resyncMs, signal)
    }
  }

  async pass(signal: AbortSignal): Promise<void> {
    // Read before the check: a change during it leads to another check.
    const generation = this.#options.nftGeneration?.()
    if (generation !== undefined && generation === this.#rightAtGeneration) return
    this.#rightAtGeneration = undefined
    try {
      const own = this.#ownNetworks()
      if (!this.#written && (await this.#otherMode.removeAll(own, signal)))
        this.#log.info({ of: this.#otherMode.name }, 'firewall rules of the other mode removed')
      const overlay = this.#overlay
      const { changed, warning, names } = await this.#mode.converge(overlay, own, signal)
      if (changed) this.#logChange(names)
      else if (this.#mode.usesNftables && overlay === this.#overlay) this.#rightAtGeneration = generation
      this.#written = true
      this.#logOnce('warn', warning)
      this.#settle(undefined)
    } catch (error) {
      if (!(error instanceof FirewallError)) throw error
      this.#logOnce(this.#options.ipMasq ? 'error' : 'warn', error.message)
      this.#settle(error.message)
    }
  }

  #settle(trouble: string | undefined): void {
    // Without masquerading only our accepts can be missing, which matters only where another rule drops.
    this.trouble = this.#options.ipMasq ? trouble : undefined
    if (this.trouble === undefined) this.#rightAgain.set()
    this.#options.onChange?.()
  }

  #ownNetworks(): readonly Prefix[] {
    const networks = this.#overlay.map(({ network }) => network)
    return [...new Set([...networks, ...(this.#options.previousNetworks ?? [])])]
  }

  #logChange(names: readonly string[]): void {
    const { ipMasq, forwardRules } = this.#options
    const overlay = this.#overlay.map(({ network, subnet }) => `${subnet} of ${network}`)
    const what = this.#written ? 'firewall rules repaired' : 'firewall rules written'
    this.#log.info({ by: this.#mode.name, names, overlay, ipMasq, forwardRules }, what)
  }

  #logOnce(level: 'warn' | 'error', text: string | undefined): void {
    if (text === undefined) this.#reported.isOver('rules')
    else if (this.#reported.isNew('rules', text)) this.#log[level]({}, text)
  }
}

/** Removes all rules of these networks, in both modes and families. True where there were some. */
export async function removeFirewall(
  networks: readonly Prefix[],
  signal: AbortSignal,
  run: RunCommand = runCommand,
): Promise<boolean> {
  const nothing = { ipMasq: false, randomPorts: true, forwardRules: false, forwardFirst: false }
  const iptables = await new IptablesMode(nothing, run).removeAll(networks, signal)
  return (await new NftMode(nothing, run).removeAll(networks, signal)) || iptables
}
