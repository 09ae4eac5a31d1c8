import type { Log } from '../../lease/common/log.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import { allFamilies, type Family, familyOf, type Ip } from '../../lease/net/ip.ts'
import { FirewallError, loggedCommands, quietly, type RunCommand, runCommand } from './command.ts'
import { listTable, runNft, withoutTable } from './nft.ts'

/** Which packets are a tunnel's, and who may send them. */
export interface Tunnel {
  /** `flannel.1`; the table is named after it. */
  readonly device: string
  readonly vni: number
  /** UDP. */
  readonly port: number
  /** The external interface. */
  readonly underlay: string
  /** Live. */
  readonly peers: TunnelPeers
}

export interface TunnelPeers {
  /** Of the peers that are programmed: made where it is asked for. */
  readonly publicIps: ReadonlySet<Ip>
  hasPublicIp(ip: Ip): boolean
}

export interface TunnelFilterOptions {
  /** Between two looks at the rules. */
  readonly resyncMs: number
  /** Undefined where this network has no tunnel. */
  readonly tunnel: () => Tunnel | undefined
  /** A number that every change to nftables, of any program, counts up; undefined where the kernel does not tell. */
  readonly nftGeneration?: (() => number | undefined) | undefined
  readonly log: Log
  readonly run?: RunCommand
}

const setOf: Readonly<Record<Family, string>> = { ipv4: 'peers4', ipv6: 'peers6' }

/** What the table held when it was last looked at or written. */
interface Standing {
  readonly rules: string
  readonly peers: Set<Ip>
}

/**
 * Drops packets for this node's tunnel that no programmed peer sent: a stranger's, or a pod's. VXLAN
 * authenticates nothing, so this is as much as a host can do by itself. One nft table, read and compared like
 * every rule; a change of a peer changes that one's elements of its sets and looks at no other. The table stays
 * when the agent ends, as the tunnel does.
 */
export class TunnelFilter {
  readonly #options: TunnelFilterOptions
  readonly #run: RunCommand
  readonly #due = new WakeUp()
  readonly #said = new ReportOnce()
  #standing: Standing | undefined
  /** The rules that were wished for, and how nft printed them: a release may use other words than we. */
  #printed: { readonly wished: string; readonly rules: string } | undefined
  /** The nftables generation at which the table was as `#standing` says. */
  #stoodAt: number | undefined
  #lookedMs = 0
  /** Public IPs that came or went since the table was last made right: bounded by the leases between two passes. */
  #touched = new Set<Ip>()

  constructor(options: TunnelFilterOptions) {
    this.#options = options
    this.#run = loggedCommands(options.log, options.run ?? runCommand)
  }

  /** A peer with this public IP may have come, or the last one gone; review() follows. */
  touch(ip: Ip): void {
    this.#touched.add(ip)
  }

  /** The peers that were touched or the underlay may have changed. */
  review(): void {
    this.#due.set()
  }

  /** Until the signal aborts; call once the first table of leases is known. */
  async keep(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.pass(signal)
      await this.#due.wait(this.#options.resyncMs, signal)
    }
  }

  /** Makes the table right. Rejects with the signal's reason. */
  async pass(signal: AbortSignal): Promise<void> {
    const { tunnel, nftGeneration, log } = this.#options
    const wanted = tunnel()
    if (wanted === undefined) return this.#touched.clear()
    try {
      // Asked before the look: what changes during it makes another.
      const generation = nftGeneration?.()
      const isKnown = generation !== undefined && generation === this.#stoodAt
      const isLooked = this.#standing === undefined || (!isKnown && this.#isLookDue())
      if (isLooked) {
        await this.#look(wanted, signal)
        this.#stoodAt = generation
      }
      await this.#converge(wanted, isLooked, signal)
      if (this.#said.isOver('filter')) log.info({}, 'the tunnel is filtered again')
    } catch (error) {
      if (!(error instanceof FirewallError)) throw error
      this.#standing = undefined
      if (this.#said.isNew('filter', error.message))
        log.error({}, `the tunnel is not filtered as --tunnel-filter asks: ${error.message}`)
    }
  }

  /** Peers that come and go fast do not make it list thousands of elements each time. */
  #isLookDue(): boolean {
    return performance.now() - this.#lookedMs >= this.#options.resyncMs
  }

  async #look({ device }: Tunnel, signal: AbortSignal): Promise<void> {
    this.#lookedMs = performance.now()
    const text = await listTable(this.#run, tableOf(device), signal)
    this.#standing = text === undefined ? undefined : readTable(text)
  }

  async #converge(wanted: Tunnel, isLooked: boolean, signal: AbortSignal): Promise<void> {
    const wished = printRules(wanted)
    const standing = this.#standing
    const isWished = this.#printed?.wished === wished && this.#printed.rules === standing?.rules
    if (standing === undefined || !isWished) return await this.#replace(wanted, wished, signal)
    const doubtful = isLooked ? new Set([...wanted.peers.publicIps, ...standing.peers]) : this.#touched
    this.#touched = new Set()
    await this.#update(wanted, standing, doubtful, signal)
  }

  async #replace(wanted: Tunnel, wished: string, signal: AbortSignal): Promise<void> {
    const table = tableOf(wanted.device)
    const peers = wanted.peers.publicIps
    this.#touched = new Set()
    const elements = changeOf('add', table, peers)
    await runNft(this.#run, `${withoutTable(table)}${wished}\n${elements}`, signal)
    await this.#look(wanted, signal)
    this.#printed = { wished, rules: this.#standing?.rules ?? '' }
    this.#options.log.info(
      { table, peers: peers.size },
      'tunnel filter written: packets from others are dropped',
    )
  }

  /** Makes the elements of these public IPs right. */
  async #update(
    { device, peers }: Tunnel,
    standing: Standing,
    doubtful: Iterable<Ip>,
    signal: AbortSignal,
  ): Promise<void> {
    const wrong = [...doubtful].filter(ip => peers.hasPublicIp(ip) !== standing.peers.has(ip))
    if (wrong.length === 0) return
    const [gone, come] = [
      wrong.filter(ip => standing.peers.has(ip)),
      wrong.filter(ip => !standing.peers.has(ip)),
    ]
    const table = tableOf(device)
    const before = this.#options.nftGeneration?.()
    await runNft(this.#run, changeOf('add', table, come) + changeOf('delete', table, gone), signal)
    for (const ip of gone) standing.peers.delete(ip)
    for (const ip of come) standing.peers.add(ip)
    if (before !== undefined && before === this.#stoodAt) this.#seeOwnChange(before)
  }

  /** One transaction counts the generation up by one: where it is further, another program made one too. */
  #seeOwnChange(before: number): void {
    const after = this.#options.nftGeneration?.()
    if (after === before + 1) this.#stoodAt = after
  }
}

/** Removes what an agent with --tunnel-filter left; true where there was something. */
export async function removeTunnelFilter(
  device: string,
  signal: AbortSignal,
  run: RunCommand = runCommand,
): Promise<boolean> {
  const table = tableOf(device)
  return await quietly(async () => {
    if ((await listTable(run, table, signal)) === undefined) return false
    await runNft(run, withoutTable(table), signal)
    return true
  })
}

function tableOf(device: string): string {
  return `inet twill-${device}`
}

/**
 * A second network on this host may use the same port: the VNI is 24 bits behind the 8 bytes of UDP and the
 * first 4 of VXLAN (RFC 7348, 5). On any interface but the external one a packet must come by the way that
 * leads back to its sender too: otherwise a pod could send in a peer's name.
 */
function printRules({ device, vni, port, underlay }: Tunnel): string {
  return `table ${tableOf(device)} {
  set peers4 { type ipv4_addr; }
  set peers6 { type ipv6_addr; }
  chain tunnel {
    ip saddr != @peers4 counter drop
    ip6 saddr != @peers6 counter drop
    iifname != "${underlay}" fib saddr . iif oif missing counter drop
  }
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    udp dport ${port} @th,96,24 ${vni} jump tunnel
  }
}`
}

/** Empty for no addresses. */
function changeOf(verb: 'add' | 'delete', table: string, ips: Iterable<Ip>): string {
  return allFamilies
    .map(family => {
      const own = [...ips].filter(ip => familyOf(ip) === family)
      return own.length === 0 ? '' : `${verb} element ${table} ${setOf[family]} { ${own.join(', ')} }\n`
    })
    .join('')
}

/**
 * Splits what nft lists into rules, without their counters, and elements. nft prints addresses in canonical
 * text.
 */
function readTable(text: string): Standing {
  const peers = new Set<Ip>()
  const rules = text
    .replaceAll(/elements = \{([^}]*)\}/g, (_, list: string) => {
      for (const element of list.split(',')) if (element.trim() !== '') peers.add(element.trim() as Ip)
      return ''
    })
    .replaceAll(/packets \d+ bytes \d+/g, '')
    .replaceAll(/\s+/g, ' ')
  return { rules, peers }
}
