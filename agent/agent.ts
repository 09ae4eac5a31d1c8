import { lazily } from '../lease/common/lazily.ts'
import type { Log } from '../lease/common/log.ts'
import type { Retrier } from '../lease/common/retry.ts'
import { scarcityRetrier } from '../lease/common/scarcity.ts'
import { WakeUp } from '../lease/common/wake_up.ts'
import type { NetworkConfig } from '../lease/network_config/network_config.ts'
import type { EtcdOptions, StoreOptions } from '../lease/options.ts'
import { openStore } from '../lease/registry.ts'
import type { LeaseStore } from '../lease/store.ts'
import type { Backend } from './backend/backend.ts'
import { withBlackholeRoute } from './backend/blackhole_route.ts'
import { openBackend } from './backend/registry.ts'
import type { AgentConfig } from './config/config.ts'
import type { Finding } from './diagnose/doctor/finding.ts'
import type { AgentDocuments } from './diagnose/node_documents.ts'
import { runAsFirstHost } from './embedded_etcd/first_host.ts'
import { runAsMember } from './embedded_etcd/member.ts'
import type { Prepare } from './embedded_etcd/place.ts'
import { openHostSide, removeFormerFilter } from './host_side/host_side.ts'
import { deviceClaims, fileClaims, networkClaims } from './instance/claims.ts'
import { Locks } from './instance/lock.ts'
import { joinNetwork } from './join/join_network.ts'
import type { NetlinkKernel } from './kernel/netlink_kernel.ts'
import { Overlay } from './overlay.ts'
import { releaseStartMemory } from './runtime/memory.ts'
import { agentFacts, agentStatus } from './status/agent_status.ts'
import { NotReadyError } from './status/http/local_api.ts'
import type { MemoryWatch } from './status/memory_watch.ts'
import { type AgentStatus, RoundTotals } from './status/status.ts'
import { announceReady } from './status/supervisor.ts'
import { version } from './version.ts'

/** Loaded when the first document is built, after the start. */
const loadDocuments = lazily(async () => ({
  ...(await import('./diagnose/node_documents.ts')),
  ...(await import('./inspect/lease_times.ts')),
  ...(await import('./inspect/this_host.ts')),
}))

/**
 * One node of the overlay. The only class that connects the lease side with the kernel side. Runs until the
 * signal aborts; the entries in the kernel stay.
 */
export class Agent {
  readonly #config: AgentConfig
  readonly #kernel: NetlinkKernel
  readonly #log: Log
  readonly #rounds = new RoundTotals()
  readonly #locks = new Locks(version)
  readonly #retrier: Retrier
  readonly #memory: MemoryWatch
  /** Troubles of the etcd that this host runs, by kind; empty without an embedded etcd. */
  readonly #etcdTroubles = new Map<string, string>()
  #isStarted = false
  #waitingFor = 'the lease store'
  #store: LeaseStore | undefined
  #overlay: Overlay | undefined

  constructor(config: AgentConfig, kernel: NetlinkKernel, memory: MemoryWatch, log: Log) {
    this.#config = config
    this.#kernel = kernel
    this.#log = log
    this.#retrier = scarcityRetrier(log)
    this.#memory = memory
  }

  /** Checks and repairs everything on this node soon. Does nothing before this node has its lease. */
  refresh(reason: string): void {
    this.#overlay?.refresh(reason)
  }

  /** As `refresh`, and resolves after the full pass. Throws NotReadyError before this node has its lease. */
  repair(reason: string, signal: AbortSignal): Promise<void> {
    return this.#joined().repair(reason, signal)
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
    if (store.kind !== 'etcd' || store.embedded === undefined) return await this.#run(store, signal)
    const host = {
      config: this.#config,
      etcd: { ...store, embedded: store.embedded },
      kernel: this.#kernel,
      log: this.#log,
      troubles: this.#etcdTroubles,
      run: (etcd: EtcdOptions, prepare: Prepare, all: AbortSignal) => this.#run(etcd, all, prepare),
    }
    await (store.joinSecret === undefined ? runAsFirstHost(host, signal) : runAsMember(host, signal))
  }

  /**
   * `prepare`: called once the store is open and before anything is read from it; the first host stores a
   * network config there.
   */
  async #run(options: StoreOptions, signal: AbortSignal, prepare?: Prepare): Promise<void> {
    const store = await openStore(options, this.#log)
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
    return agentStatus({
      version,
      overlay: this.#overlay?.status(),
      view: this.#overlay?.view(),
      store: this.#store?.health(),
      rounds: this.#rounds,
      resyncMs: this.#config.resyncMs,
      waitingFor: this.#waitReason(),
      scarcity: this.#retrier.trouble,
      etcdTroubles: this.#runsEtcd() ? [...this.#etcdTroubles.values()] : undefined,
      ownFindings: this.#memory.findings,
    })
  }

  #runsEtcd(): boolean {
    const { store } = this.#config
    return store.kind === 'etcd' && store.embedded !== undefined
  }

  /** The documents that the local API serves. Throws NotReadyError before this node has a lease. */
  async documents(): Promise<AgentDocuments> {
    const { nodeDocuments, leaseTimesOf, thisHost } = await loadDocuments()
    return nodeDocuments({
      ...thisHost(this.#kernel, this.#config.subnetFile, this.#config.cniConfigFile),
      view: async () => ({ ...this.#joined().view(), storeKind: this.#config.store.kind }),
      leaseTimes: signal => leaseTimesOf(this.#store, signal),
      podAddresses: this.#store?.podAddresses?.bind(this.#store),
      probePort: this.#config.probePort ?? 0,
      agentAnswer: async () => agentFacts(this.status()),
    })
  }

  #joined(): Overlay {
    if (this.#overlay === undefined) throw new NotReadyError(`this node waits for ${this.#waitReason()}`)
    return this.#overlay
  }

  /** What this node waits for and, where the store knows it, the reason: `a lease: out of subnets ...`. */
  #waitReason(): string {
    const trouble = this.#store?.health().trouble
    return trouble === undefined ? this.#waitingFor : `${this.#waitingFor}: ${trouble}`
  }

  /** Claims the lease, then opens the firewall, the node files and the watches. */
  async #join(
    store: LeaseStore,
    network: NetworkConfig,
    backend: Backend,
    signal: AbortSignal,
  ): Promise<Overlay> {
    const config = this.#config
    const stateChanged = new WakeUp()
    const onChange = () => stateChanged.set()
    const waitsFor = (what: string) => {
      this.#waitingFor = what
    }
    const [kernel, retrier, log] = [this.#kernel, this.#retrier, this.#log]
    const common = { config, store, network, backend, kernel, retrier, log, onChange }
    const joined = await joinNetwork({ ...common, waitsFor }, signal)
    const host = await openHostSide({
      ...common,
      ...joined,
      examine: all => this.#examine(all),
      traceForPeer: async (...question) => (await this.documents()).traceForPeer(...question),
    })
    return new Overlay({
      ...common,
      ...joined,
      host,
      stateChanged,
      rounds: this.#rounds,
      resyncMs: config.resyncMs,
      onReady: all => this.#announce(store, backend, all),
    })
  }

  /** The first examination ends the start: memory that only the start needed is freed after it. */
  async #examine(signal: AbortSignal): Promise<readonly Finding[]> {
    try {
      return await (await this.documents()).ownHost(signal)
    } finally {
      if (!this.#isStarted) await releaseStartMemory()
      this.#isStarted = true
    }
  }

  /** Tells systemd and the cluster's operator that traffic can flow. */
  async #announce(store: LeaseStore, backend: Backend, signal: AbortSignal): Promise<void> {
    await announceReady(this.#config.supervision, this.#log)
    await removeFormerFilter(this.#config, backend.devices, this.#log, signal)
    await store.reporter?.announceReady(signal)
  }
}
