import { existsSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { printable } from '../../../lease/common/printable.ts'
import { parseMac } from '../../../lease/net/mac.ts'
import { type Prefix, prefixOf } from '../../../lease/net/prefix.ts'
import type { NetworkConfig } from '../../../lease/network_config/network_config.ts'
import type { Underlay } from '../../backend/backend.ts'
import { openBackend } from '../../backend/registry.ts'
import type { AgentConfig } from '../../config/config.ts'
import { portHolders } from '../../diagnose/doctor/device_checks.ts'
import { examine } from '../../diagnose/doctor/doctor.ts'
import type { Finding } from '../../diagnose/doctor/finding.ts'
import { readHost } from '../../inspect/read_host.ts'
import { NetlinkKernel } from '../../kernel/netlink_kernel.ts'
import { portHolder } from '../../netlink/port_holder.ts'
import { TWILL_PROTOCOL } from '../../state/ownership.ts'
import { entryKey } from '../../state/print.ts'
import { chooseUnderlay, UnderlayError } from '../../underlay/underlay.ts'
import { readUnderlay } from '../../underlay/when_chosen.ts'

/** Longest finding, in characters: it may have a firewall's rules. */
const LONGEST = 4_000

/** Findings that every host without an agent has, or that the installation repairs. */
const expected: ReadonlySet<string> = new Set(['own lease', 'agent', 'drift', 'subnet file', 'forwarding'])

/** Doctor's own checks, with the devices that an agent on this host would create. Changes nothing. */
export async function preflight(
  config: AgentConfig,
  network: NetworkConfig,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const tools = [...toolChecks(network), ...etcdChecks(config)]
  const choice = await chooseInterface(config, network, signal)
  if ('check' in choice) return [...tools, choice]
  const backend = openBackend(network)
  const view = {
    network,
    backend,
    storeKind: config.store.kind,
    self: undefined,
    underlay: choice,
    leases: { table: new Map(), changed: new Set<string>(), problems: [] },
    refused: new Map(),
    desired: futureDevices(network, choice),
  }
  const facts = await readHost(signal)
  const host = { view, facts, drift: [], kernelRelease: release(), agent: undefined }
  const holders = portHolders(view, facts, port => portHolder('udp', port))
  // The agent has not written its files yet.
  const { subnetFile } = config
  const files = { subnetFile, subnets: undefined, ipMasq: false, cni: { directory: '', configs: [] } }
  const found = examine({ ...host, files, portHolders: holders })
  return [...tools, ...found.filter(({ check }) => !expected.has(check))]
}

function futureDevices(network: NetworkConfig, underlay: Underlay) {
  const backend = openBackend(network)
  const data = backend.publish(network.families.map((_, i) => parseMac(`02:00:00:00:00:0${i}`)))
  const subnets = network.families.map(({ subnetMin, subnetLength }, i) => ({
    prefix: prefixOf(subnetMin, subnetLength) as Prefix,
    publicIp: underlay.publicIps[i] ?? subnetMin,
    backendData: data[i],
  }))
  const own = backend.ownEntries({ node: '', backendType: backend.type, subnets, since: 0 }, underlay)
  return new Map(own.map(entry => [entryKey(entry), entry]))
}

async function chooseInterface(
  { interfaces, publicIps }: AgentConfig,
  network: NetworkConfig,
  signal: AbortSignal,
): Promise<Underlay | Finding> {
  const kernel = await NetlinkKernel.open()
  const wish = { ...interfaces, publicIps }
  try {
    const scope = { devices: openBackend(network).devices, routeProtocol: TWILL_PROTOCOL }
    const view = await readUnderlay(kernel, scope, wish, signal)
    const families = network.families.map(({ family }) => family)
    return chooseUnderlay(families, view, wish)
  } catch (error) {
    if (!(error instanceof UnderlayError)) throw error
    const remedy = 'give --iface=NAME, or set the interface up'
    return obstacle('external interface', error.message, 'ip address, ip route', remedy)
  } finally {
    kernel.close()
  }
}

/** Whether this host starts the network's etcd; false where it joins another host's etcd as a member. */
export function isFirstHost({ store }: AgentConfig): boolean {
  return store.kind === 'etcd' && store.embedded !== undefined && store.joinSecret === undefined
}

/** The agent writes its firewall rules by nft or iptables, as the network config says. */
function toolChecks({ enableNftables }: NetworkConfig): readonly Finding[] {
  const tool = enableNftables ? 'nft' : 'iptables-restore'
  const pkg = enableNftables ? 'nftables' : 'iptables'
  if (isInstalled(tool)) return []
  const what = `there is no ${tool}, by which the agent writes its firewall rules`
  return [obstacle('firewall tool', what, pkg, `apt-get install ${pkg}`)]
}

/** Debian's package starts an etcd of its own, on the same port. */
function etcdChecks({ store }: AgentConfig): readonly Finding[] {
  if (store.kind !== 'etcd' || store.embedded === undefined) return []
  const missing = ['etcd', 'setpriv'].filter(program => !isInstalled(program))
  if (missing.length > 0) {
    const what = `this host is to run etcd, and there is no ${missing.join(' and no ')}`
    const remedy = 'apt-get install etcd-server util-linux && systemctl disable --now etcd'
    return [obstacle('etcd', what, 'PATH', remedy)]
  }
  const port = Number(new URL(store.endpoints[0] ?? '').port)
  return [port, port + 1].flatMap(one => {
    const holder = portHolder('tcp', one)
    if (holder === undefined) return []
    const what = `this host's etcd needs TCP port ${one}, and another program has it`
    const remedy = `stop it (Debian's etcd: systemctl disable --now etcd), or join it: twill install --etcd-endpoints=...`
    return [obstacle('etcd port', what, holder, remedy)]
  })
}

export function obstacle(check: string, what: string, evidence: string, remedy: string): Finding {
  return { check, severity: 'broken', what, evidence, cause: what, remedy }
}

/** On one line, escaped: rules and names of devices are foreign text. */
export function printObstacle({ severity, what, evidence, remedy }: Finding): string {
  const mark = severity === 'broken' ? '' : 'warning: '
  return printable(`${mark}${what} (${evidence}): ${remedy}`, LONGEST)
}

function isInstalled(program: string): boolean {
  const folders =
    `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`.split(':')
  return folders.some(folder => folder.startsWith('/') && existsSync(join(folder, program)))
}
