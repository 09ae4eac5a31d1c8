import { randomBytes } from 'node:crypto'
import { release } from 'node:os'
import { ExpectedError, isScarcity } from '../lease/common/errors.ts'
import type { Log } from '../lease/common/log.ts'
import { readWhole } from '../lease/common/replace_file.ts'
import { Retrier } from '../lease/common/retry.ts'
import { WakeUp } from '../lease/common/wake_up.ts'
import { familyOf } from '../lease/net/ip.ts'
import type { Mac } from '../lease/net/mac.ts'
import type { NetworkConfig } from '../lease/network_config.ts'
import { nodeSubnets } from '../lease/node_subnets.ts'
import { openStore } from '../lease/registry.ts'
import type { LeaseStore, StoreHealth } from '../lease/store.ts'
import type { Backend } from './backend/backend.ts'
import { withBlackholeRoute } from './backend/blackhole_route.ts'
import { openBackend } from './backend/registry.ts'
import type { AgentConfig } from './config/config.ts'
import type { NodeDocuments } from './diagnose/node_documents.ts'
import { type Prepare, runAsFirstHost } from './embedded_etcd/first_host.ts'
import { Firewall } from './firewall/firewall.ts'
import { deviceClaims, fileClaims, networkClaims } from './instance/claims.ts'
import { Locks } from './instance/lock.ts'
import type { Scope } from './kernel/kernel.ts'
import type { NetlinkKernel } from './kernel/netlink_kernel.ts'
import { OwnLease } from './membership/own_lease.ts'
import { LibcError } from './netlink/libc.ts'
import { loadNftGeneration } from './netlink/nft_generation.ts'
import { NodeFiles } from './node_files/node_files.ts'
import { readPreviousNetworks, readPreviousSubnets } from './node_files/subnet_env.ts'
import { Overlay } from './overlay.ts'
import { releaseStartMemory } from './runtime/memory.ts'
import { TWILL_PROTOCOL } from './state/ownership.ts'
import { HostWatch } from './status/host_watch.ts'
import { type AgentStatus, check, RoundTotals, storeAway } from './status/status.ts'
import { notifySupervisor } from './status/supervisor.ts'
import { endpointAddresses } from './underlay/endpoint_addresses.ts'
import { overlapWarnings } from './underlay/host_networks.ts'
import { UnderlayWatch } from './underlay/underlay_watch.ts'
import { version } from './version.ts'

/** A question that this node cannot answer yet. */
class NotReadyError extends ExpectedError {
  override name = 'NotReadyError'
}

/**
 * One node of the overlay: leases on one side, the kernel on the other, wired here and nowhere else. Runs until the signal
 * aborts; what it made in the kernel stays.
 */
export class Agent {
  readonly #config: AgentConfig
  readonly #kernel: NetlinkKernel
  readonly #log: Log
  readonly #rounds = new RoundTotals()
  readonly #locks = new Locks(version)
  readonly #retrier: Retrier
  #waitingFor = 'the lease store'
  #store: LeaseStore | undefined
  #overlay: Overlay | undefined

  constructor(config: AgentConfig, kernel: NetlinkKernel, log: Log) {
    this.#config = config
    this.#kernel = kernel
    this.#log = log
    this.#retrier = new Retrier({
      minMs: 100,
      maxMs: 1_000,
      away: { failures: Number.POSITIVE_INFINITY, afterMs: Number.POSITIVE_INFINITY },
      isTrouble: isScarcity,
      random: Math.random,
      now: () => performance.now(),
      log,
    })
  }

  /** Looks at all that this node has, and makes it right; nothing to do before it has its lease. */
  refresh(reason: string): void {
    this.#overlay?.refresh(reason)
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store, subnetFile, cniConfigFile } = this.#config
    try {
      const files = await fileClaims([subnetFile, cniConfigFile, store.cacheFile])
      await this.#locks.take(files, signal)
      await this.#runStore(signal)
    } finally {
      this.#locks.release()
    }
  }

  async #runStore(signal: AbortSignal): Promise<void> {
    const { store } = this.#config
    if (store.kind !== 'etcd' || store.embedded === undefined) return await this.#run(signal)
    const firstHost = {
      config: this.#config,
      etcd: store,
      dataDir: store.embedded.dataDir,
      kernel: this.#kernel,
      log: this.#log,
      run: (prepare: Prepare, all: AbortSignal) => this.#run(all, prepare),
    }
    await runAsFirstHost(firstHost, signal)
  }

  /** `prepare`: what a first host does with the store before anything is read from it. */
  async #run(signal: AbortSignal, prepare?: Prepare): Promise<void> {
    const store = await openStore(this.#config.store, this.#log)
    this.#store = store
    try {
      this.#waitingFor = 'the network config'
      await prepare?.(store, signal)
      const network = await store.networkConfig(signal, { accept: openBackend })
      const plain = openBackend(network)
      const backend = this.#config.blackholeRoute ? withBlackholeRoute(plain) : plain
      const networks = network.families.map(family => family.network)
      await this.#locks.take([...deviceClaims(backend.devices), ...networkClaims(networks)], signal)
      const overlay = await this.#join(store, network, backend, signal)
      this.#overlay = overlay
      await overlay.run(signal)
    } finally {
      await store.close()
    }
  }

  status(): AgentStatus {
    const overlay = this.#overlay?.status()
    const nothing: StoreHealth = { lastContactMs: undefined, trouble: undefined, troubleMs: 0 }
    const store = this.#store?.health() ?? nothing
    const why = store.trouble === undefined ? '' : `: ${store.trouble}`
    const checks = [
      ...(overlay?.checks ?? [check('start', `waiting for ${this.#waitingFor}${why}`)]),
      check('store', overlay && storeAway(store)),
      check('resources', this.#retrier.trouble),
      check('lease-conflict', store.conflict),
      check('network-config', store.notice),
    ]
    return {
      version,
      notReady: checks.flatMap(({ reasons }) => reasons),
      checks,
      lease: overlay?.lease,
      peers: overlay?.peers ?? 0,
      refused: overlay?.refused ?? new Map(),
      findings: overlay?.findings ?? [],
      failing: overlay?.failing ?? [],
      contested: overlay?.contested ?? [],
      rounds: this.#rounds,
      roundMs: overlay?.roundMs ?? 0,
      view: this.#overlay?.view(),
      resyncMs: this.#config.resyncMs,
      store,
    }
  }

  /** What the local API answers. Throws NotReadyError before this node has a lease. */
  async documents(): Promise<NodeDocuments> {
    const { nodeDocuments } = await import('./diagnose/node_documents.ts')
    const { readHost } = await import('./inspect/read_host.ts')
    const { readNodeFiles } = await import('./inspect/read_files.ts')
    return nodeDocuments({
      view: async () => ({ ...this.#joined().view(), storeKind: this.#config.store.kind }),
      snapshot: ({ backend }, signal) =>
        this.#kernel.snapshot({ devices: backend.devices, routeProtocol: TWILL_PROTOCOL }, signal),
      hostFacts: readHost,
      files: () => readNodeFiles(this.#config.subnetFile),
      kernelRelease: release(),
      agentFacts: () => ({ ...this.status(), pid: process.pid }),
    })
  }

  #joined(): Overlay {
    if (this.#overlay === undefined) throw new NotReadyError(`this node waits for ${this.#waitingFor}`)
    return this.#overlay
  }

  /** Chooses the external interface and claims the lease. */
  async #join(
    store: LeaseStore,
    network: NetworkConfig,
    backend: Backend,
    signal: AbortSignal,
  ): Promise<Overlay> {
    const subnetEnv = (await readWhole(this.#config.subnetFile, signal)) ?? ''
    const previousNetworks = readPreviousNetworks(subnetEnv)
    const networks = [...network.families.map(family => family.network), ...previousNetworks]
    const scope: Scope = { devices: backend.devices, routeProtocol: TWILL_PROTOCOL, networks }
    const underlay = new UnderlayWatch({
      kernel: this.#kernel,
      scope,
      network,
      wish: await this.#wish(store, signal),
      endpoints: await endpointAddresses(store.endpoints ?? [], signal),
      patienceMs: this.#config.underlayPatienceMs,
      log: this.#log,
      onTrouble: trouble => {
        this.#waitingFor = `an external interface: ${trouble}`
      },
    })
    const choose = () => underlay.choose(signal)
    const first = await this.#retrier.until('choose the external interface', choose, signal)
    const previousSubnets = readPreviousSubnets(subnetEnv)
    for (const warning of overlapWarnings(network, underlay.hostNetworks(previousSubnets)))
      this.#log.warn({}, warning)
    const stateChanged = new WakeUp()
    const onChange = () => stateChanged.set()
    const ownLease = new OwnLease(
      {
        store,
        network,
        backend,
        log: this.#log,
        previousSubnets,
        deviceMacs: await this.#deviceMacs(scope, signal),
        leaseLost: this.#config.leaseLost,
        hostNetworks: own => underlay.hostNetworks(own).overlapping.map(({ prefix }) => prefix),
        randomBytes: () => randomBytes(6),
        onChange,
      },
      first,
    )
    this.#waitingFor = 'a lease'
    const self = await ownLease.claim(signal)
    const { firewall } = this.#config
    return new Overlay({
      store,
      network,
      backend,
      kernel: this.#kernel,
      scope,
      ownLease,
      underlay,
      self,
      rounds: this.#rounds,
      resyncMs: this.#config.resyncMs,
      probePort: this.#config.probePort,
      files: new NodeFiles({ ...this.#config, ipMasq: firewall.ipMasq, log: this.#log, onChange }),
      firewall: new Firewall(
        {
          ...firewall,
          nftables: network.enableNftables,
          nftGeneration: await loadNftGeneration(),
          previousNetworks,
          onChange,
        },
        nodeSubnets(network, self),
        this.#log,
      ),
      stateChanged,
      hostWatch: new HostWatch({
        examine: async all => (await this.documents()).doctor(all),
        onChange,
        log: this.#log,
      }),
      retrier: this.#retrier,
      onReady: all => this.#announce(store, all),
      log: this.#log,
    })
  }

  /** Tells whoever waits for this node that traffic can flow: systemd, and who runs the cluster. */
  async #announce(store: LeaseStore, signal: AbortSignal): Promise<void> {
    try {
      await notifySupervisor('READY=1', this.#config.supervision.socket)
    } catch (error) {
      if (!(error instanceof LibcError)) throw error
      this.#log.warn({}, `systemd is not told that this node is ready: ${error.message}`)
    }
    await store.reporter?.announceReady(signal)
    await releaseStartMemory()
  }

  /** Public IPs from the command line win over those that the store knows for this node. */
  async #wish(store: LeaseStore, signal: AbortSignal) {
    const { interfaces, publicIps } = this.#config
    const hints = (await store.reporter?.publicIpHints(signal)) ?? []
    const hinted = Object.fromEntries(hints.map(ip => [familyOf(ip), ip]))
    return {
      ...interfaces,
      publicIps: { ipv4: publicIps.ipv4 ?? hinted.ipv4, ipv6: publicIps.ipv6 ?? hinted.ipv6 },
    }
  }

  async #deviceMacs(scope: Scope, signal: AbortSignal): Promise<(Mac | undefined)[]> {
    const read = () => this.#kernel.devices(scope, signal)
    const links = await this.#retrier.until('read the devices', read, signal)
    return scope.devices.map(name => links.find(link => link.name === name)?.mac)
  }
}
