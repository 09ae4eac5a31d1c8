import { NetlinkKernel } from '../../../agent/kernel/netlink_kernel.ts'
import { Reconciler } from '../../../agent/reconcile/reconciler.ts'
import type { Round } from '../../../agent/reconcile/round.ts'
import { setV8Flags } from '../../../agent/runtime/v8_flags.ts'
import { diff } from '../../../agent/state/diff.ts'
import type { Entry } from '../../../agent/state/entry.ts'
import { BOOT_PROTOCOL, TWILL_PROTOCOL } from '../../../agent/state/ownership.ts'
import { entryKey } from '../../../agent/state/print.ts'
import type { Ip } from '../../../lease/net/ip.ts'
import type { Mac } from '../../../lease/net/mac.ts'
import type { Prefix } from '../../../lease/net/prefix.ts'
import { attempt, run } from '../../support/exec.ts'
import { enterOwnNetns } from '../../support/own_netns.ts'
import { type MadeUpPeer, madeUpPeer } from '../peers.ts'

const device = 'flannel.1'
const noSignal = new AbortController().signal
const scope = { devices: [device], routeProtocol: TWILL_PROTOCOL }

/** ms that each part took. */
export interface Programming {
  readonly fdbAndNeighborsMs: number
  readonly routesMs: number
  readonly totalMs: number
}

export interface Pass {
  readonly durationMs: number
  readonly allocatedBytes: number
}

type Table = 'fdb' | 'neighbors' | 'routes'

/** A network namespace with one VXLAN device, filled by us or by iproute2. */
export interface ProgrammingJob {
  readonly [act: string]: (...words: never[]) => unknown
  /** Sets V8 flags, as the agent does at its start. */
  tune(v8Flags: readonly string[]): void
  prepare(): Promise<void>
  /** From an empty device. */
  byTwill(peers: number): Promise<Programming>
  byIproute2(peers: number): Promise<Programming>
  /** Passes over what byTwill() left, with nothing to do. Wants --expose-gc. */
  idlePasses(peers: number, times: number): Promise<Pass[]>
  /** The same three tables listed by `ip` and `bridge`: ms. */
  listings(times: number): Promise<number[]>
}

export function programmingJob(): ProgrammingJob {
  return { tune: setV8Flags, prepare, byTwill, byIproute2, idlePasses, listings }
}

async function prepare(): Promise<void> {
  const why = await enterOwnNetns()
  if (why !== undefined) throw new Error(why)
  await ip([
    'link add eth0 type veth peer name eth1',
    'address add 192.168.50.11/24 dev eth0',
    'link set eth0 up',
    'link set eth1 up',
  ])
}

async function byTwill(peers: number): Promise<Programming> {
  await freshDevice()
  const kernel = await NetlinkKernel.open()
  // Warm: the socket stands, as it does in an agent that has made its device.
  await kernel.snapshot(scope, noSignal)
  const entries = entriesOf(peers)
  const started = performance.now()
  const operations = diff(entries.keys(), new Map(), entries)
  const routesAt = operations.findIndex(({ entry }) => entry.kind === 'route')
  const first = await kernel.apply(operations.slice(0, routesAt), noSignal)
  const between = performance.now()
  const second = await kernel.apply(operations.slice(routesAt), noSignal)
  const ended = performance.now()
  for (const { error } of [...first, ...second]) if (error !== undefined) throw error
  kernel.close()
  return timed(started, between, ended)
}

async function byIproute2(peers: number): Promise<Programming> {
  await freshDevice()
  const started = performance.now()
  await put('fdb', peers)
  await put('neighbors', peers)
  const between = performance.now()
  await put('routes', peers)
  return timed(started, between, performance.now())
}

async function put(table: Table, peers: number): Promise<void> {
  const lines = Array.from({ length: peers }, (_, i) => lineOf[table](madeUpPeer(i)))
  await run([table === 'fdb' ? 'bridge' : 'ip', '-batch', '-'], { input: text(lines) })
}

const lineOf: Readonly<Record<Table, (peer: MadeUpPeer) => string>> = {
  fdb: ({ mac, publicIp }) => `fdb replace ${mac} dev ${device} dst ${publicIp} self permanent`,
  neighbors: ({ gateway, mac }) => `neigh replace ${gateway} lladdr ${mac} dev ${device} nud permanent`,
  routes: ({ subnet, gateway }) => `route replace ${subnet} via ${gateway} dev ${device} onlink`,
}

async function idlePasses(peers: number, times: number): Promise<Pass[]> {
  const kernel = await NetlinkKernel.open()
  const desired = entriesOf(peers)
  for (const entry of await kernel.snapshot(scope, noSignal)) {
    if (entry.kind === 'link' || entry.kind === 'address') desired.set(entryKey(entry), entry)
  }
  const stop = new AbortController()
  const passes: Pass[] = []
  const reconciler = new Reconciler({
    kernel,
    scope,
    desired,
    resyncMs: 1e9,
    onRound: round => seen(round),
  })
  let allocated = 0
  const seen = ({ durationMs, results }: Round) => {
    if (results.length > 0) throw new Error(`${results.length} operations where nothing was to be done`)
    passes.push({ durationMs, allocatedBytes: allocatedNow() - allocated })
    if (passes.length >= times) return stop.abort(stop)
    setImmediate(() => {
      collectGarbage()
      allocated = allocatedNow()
      reconciler.requestFullPass('bench')
    })
  }
  collectGarbage()
  allocated = allocatedNow()
  await reconciler.run(stop.signal).catch(reason => {
    if (reason !== stop) throw reason
  })
  kernel.close()
  return passes
}

async function listings(times: number): Promise<number[]> {
  const took: number[] = []
  for (let i = 0; i < times; i++) {
    const started = performance.now()
    await run(['bridge', 'fdb', 'show', 'dev', device])
    await run(['ip', 'neigh', 'show', 'dev', device])
    await run(['ip', 'route', 'show', 'dev', device])
    took.push(performance.now() - started)
  }
  return took
}

async function freshDevice(): Promise<void> {
  await attempt(['ip', 'link', 'delete', device])
  const vxlan = 'type vxlan id 1 dev eth0 local 192.168.50.11 dstport 8472 nolearning'
  await ip([
    `link add ${device} mtu 1450 address 02:be:00:00:00:01 ${vxlan}`,
    `address add 10.200.0.0/32 dev ${device}`,
    `link set ${device} up`,
  ])
}

/** Without an entry for the device itself. */
function entriesOf(peers: number): Map<string, Entry> {
  const entries = new Map<string, Entry>()
  const add = (entry: Entry) => entries.set(entryKey(entry), entry)
  for (let i = 0; i < peers; i++) {
    const peer = madeUpPeer(i)
    const [mac, via, dst] = [peer.mac as Mac, peer.gateway as Ip, peer.subnet as Prefix]
    add({ kind: 'fdb', dev: device, mac, dst: peer.publicIp as Ip })
    add({ kind: 'neighbor', dev: device, address: via, mac })
    add({
      kind: 'route',
      type: 'unicast',
      dst,
      dev: device,
      via,
      onlink: true,
      metric: 0,
      protocol: BOOT_PROTOCOL,
    })
  }
  return entries
}

function timed(started: number, between: number, ended: number): Programming {
  return { fdbAndNeighborsMs: between - started, routesMs: ended - between, totalMs: ended - started }
}

/** With a young generation that holds all of a pass, what is in use grows by what was allocated. */
function allocatedNow(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function collectGarbage(): void {
  if (globalThis.gc === undefined) throw new Error('The flag --expose-gc is missing')
  globalThis.gc()
}

async function ip(lines: readonly string[]): Promise<void> {
  await run(['ip', '-batch', '-'], { input: text(lines) })
}

function text(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`
}
