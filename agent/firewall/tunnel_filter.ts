import type { Log } from '../../lease/common/log.ts'
import { ReportOnce } from '../../lease/common/report_once.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import { allFamilies, type Family, familyOf, type Ip } from '../../lease/net/ip.ts'
import { FirewallError, falseOnFailure, loggedCommands, type RunCommand, runCommand } from './command.ts'
import { listTable, runNft, withoutTable } from './nft.ts'

export interface Tunnel {
  /** `flannel.1`; part of the table's name. */
  readonly device: string
  readonly vni: number
  readonly port: number
  readonly underlay: string
  /** Live: changes with the leases. */
  readonly peers: TunnelPeers
}

export interface TunnelPeers {
  /** Public IPs of all programmed peers; built at each call. */
  readonly publicIps: ReadonlySet<Ip>
  hasPublicIp(ip: Ip): boolean
}

export interface TunnelFilterOptions {
  readonly resyncMs: number
  readonly tunnel: () => Tunnel | undefined
  /** A number that every change to nftables by any program increments; undefined: the kernel has none. */
  readonly nftGeneration?: (() => number | undefined) | undefined
  readonly log: Log
  readonly run?: RunCommand
}

const setOf: Readonly<Record<Family, string>> = { ipv4: 'peers4', ipv6: 'peers6' }

/** The content of the table when it was last read or written. */
interface TableContent {
  readonly rules: string
  readonly peers: Set<Ip>
}

/**
 * Drops tunnel packets to this node that no programmed peer sent, such as those of another host or of a pod.
 * VXLAN has no authentication, so a host alone can do no more. One nft table, checked and repaired like the
 * other rules. A change of a peer changes only its elements in the table's sets. The table stays when the
 * agent ends, as the tunnel does.
 */
export class TunnelFilter {
  readonly #options: TunnelFilterOptions
  readonly #run: RunCommand
  readonly #due = new WakeUp()
  readonly #reported = new ReportOnce()
  #content: TableContent | undefined
  /** The wanted rules, and how nft printed them: releases print the same rule differently. */
  #printed: { readonly wished: string; readonly rules: string } | undefined
  /** The nftables generation at which the table was as in `#content`. */
  #knownAtGeneration: number | undefined
  #readAtMs = 0
  /** Public IPs that came or went since the last pass: at most as many as leases changed meanwhile. */
  #touched = new Set<Ip>()

  constructor(options: TunnelFilterOptions) {
    this.#options = options
    this.#run = loggedCommands(options.log, options.run ?? runCommand)
  }

  /** A peer with this public IP may have joined, or the last such peer left; review() follows. */
  touch(ip: Ip): void {
    this.#touched.add(ip)
  }

  /** Call it when touched peers or the underlay may have changed. */
  review(): void {
    this.#due.set()
  }

  /** Keeps the table right until the signal aborts. Call it once the first table of leases is known. */
  async keep(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.pass(signal)
      await this.#due.wait(this.#options.resyncMs, signal)
    }
  }

  async pass(signal: AbortSignal): Promise<void> {
    const { tunnel, nftGeneration, log } = this.#options
    const wanted = tunnel()
    if (wanted === undefined) return this.#touched.clear()
    try {
      // Read the generation before the table: a change in between leads to another check.
      const generation = nftGeneration?.()
      const isKnown = generation !== undefined && generation === this.#knownAtGeneration
      // Peers that join and leave fast must not make nft list thousands of elements each time.
      const isReadDue = performance.now() - this.#readAtMs >= this.#options.resyncMs
      const isRead = this.#content === undefined || (!isKnown && isReadDue)
      if (isRead) {
        await this.#read(wanted, signal)
        this.#knownAtGeneration = generation
      }
      await this.#converge(wanted, isRead, signal)
      if (this.#reported.isOver('filter')) log.info({}, 'the tunnel is filtered again')
    } catch (error) {
      if (!(error instanceof FirewallError)) throw error
      this.#content = undefined
      if (this.#reported.isNew('filter', error.message))
        log.error({}, `the tunnel is not filtered as --tunnel-filter asks: ${error.message}`)
    }
  }

  async #read({ device }: Tunnel, signal: AbortSignal): Promise<void> {
    this.#readAtMs = performance.now()
    const text = await listTable(this.#run, tableOf(device), signal)
    this.#content = text === undefined ? undefined : readTable(text)
  }

  async #converge(wanted: Tunnel, isRead: boolean, signal: AbortSignal): Promise<void> {
    const wished = printRules(wanted)
    const content = this.#content
    const isWished = this.#printed?.wished === wished && this.#printed.rules === content?.rules
    if (content === undefined || !isWished) return await this.#replace(wanted, wished, signal)
    const doubtful = isRead ? new Set([...wanted.peers.publicIps, ...content.peers]) : this.#touched
    this.#touched = new Set()
    await this.#update(wanted, content, doubtful, signal)
  }

  async #replace(wanted: Tunnel, wished: string, signal: AbortSignal): Promise<void> {
    const table = tableOf(wanted.device)
    const peers = wanted.peers.publicIps
    this.#touched = new Set()
    const elements = changeOf('add', table, peers)
    await runNft(this.#run, `${withoutTable(table)}${wished}\n${elements}`, signal)
    await this.#read(wanted, signal)
    this.#printed = { wished, rules: this.#content?.rules ?? '' }
    const written = 'tunnel filter written: packets from others are dropped'
    this.#options.log.info({ table, peers: peers.size }, written)
  }

  async #update(
    { device, peers }: Tunnel,
    content: TableContent,
    doubtful: Iterable<Ip>,
    signal: AbortSignal,
  ): Promise<void> {
    const wrong = [...doubtful].filter(ip => peers.hasPublicIp(ip) !== content.peers.has(ip))
    if (wrong.length === 0) return
    const gone = wrong.filter(ip => content.peers.has(ip))
    const come = wrong.filter(ip => !content.peers.has(ip))
    const table = tableOf(device)
    const before = this.#options.nftGeneration?.()
    await runNft(this.#run, changeOf('add', table, come) + changeOf('delete', table, gone), signal)
    for (const ip of gone) content.peers.delete(ip)
    for (const ip of come) content.peers.add(ip)
    const after = this.#options.nftGeneration?.()
    // Our transaction adds one to the generation; a larger step: another program changed nftables too.
    if (before === this.#knownAtGeneration && before !== undefined && after === before + 1)
      this.#knownAtGeneration = after
  }
}

/** Removes the table that an agent with --tunnel-filter left; true where there was one. */
export async function removeTunnelFilter(
  device: string,
  signal: AbortSignal,
  run: RunCommand = runCommand,
): Promise<boolean> {
  const table = tableOf(device)
  return await falseOnFailure(async () => {
    if ((await listTable(run, table, signal)) === undefined) return false
    await runNft(run, withoutTable(table), signal)
    return true
  })
}

function tableOf(device: string): string {
  return `inet twill-${device}`
}

/**
 * A second network on this host may use the same port, so the rule also matches the VNI: 24 bits after the 8
 * bytes of UDP and the first 4 of VXLAN (RFC 7348, 5). A packet on any interface but the external one is
 * dropped unless the route to its source leads back through that interface: otherwise a pod could send with a
 * peer's address.
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

function changeOf(verb: 'add' | 'delete', table: string, ips: Iterable<Ip>): string {
  return allFamilies
    .map(family => {
      const own = [...ips].filter(ip => familyOf(ip) === family)
      return own.length === 0 ? '' : `${verb} element ${table} ${setOf[family]} { ${own.join(', ')} }\n`
    })
    .join('')
}

/** Splits nft's listing into rules, without counters, and elements, which nft prints in canonical text. */
function readTable(text: string): TableContent {
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
