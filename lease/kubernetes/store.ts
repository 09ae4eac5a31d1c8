import type { Log } from '../common/log.ts'
import { runTogether } from '../common/tasks.ts'
import { textAt } from '../json/path.ts'
import type { Lease, LeaseProblem, LeaseTableChange } from '../lease.ts'
import type { Ip } from '../net/ip.ts'
import type { NetworkConfig } from '../network_config/network_config.ts'
import type { KubernetesOptions } from '../options.ts'
import {
  type ConfigDemands,
  LeaseRefusedError,
  type LeaseRequest,
  type LeaseStore,
  type NodeReporter,
  type StoreHealth,
} from '../store.ts'
import { loadAccess } from './client/access.ts'
import { openApiConfig } from './client/api_config.ts'
import { ApiConfigError } from './client/kubeconfig.ts'
import { getPod, podAddresses } from './client/pods.ts'
import { defaultTiming, Session, type Timing } from './client/session.ts'
import { ConfigFile } from './config_file.ts'
import { type AnnotationNames, annotationNames } from './nodes/annotations.ts'
import { NodeSource } from './nodes/node_source.ts'
import { OwnNode } from './own_node/own_node.ts'
import { Reporter } from './own_node/reporter.ts'
import { LastSeen } from './peers/last_seen.ts'
import { watchPeers } from './peers/peers.ts'

/**
 * Leases as flannel keeps them in Kubernetes: a Node's podCIDRs are its subnets, its annotations say how to
 * reach them. Makes no request before the first call. Throws ApiConfigError.
 */
export function openKubernetesStore(
  options: KubernetesOptions,
  log: Log,
  timing: Partial<Timing> = {},
): KubernetesStore {
  if (options.nodeName === undefined && (options.podName === undefined || options.podNamespace === undefined))
    throw new ApiConfigError(
      'Cannot tell which Node this is: set NODE_NAME (fieldRef: spec.nodeName), or POD_NAME and POD_NAMESPACE',
    )
  const names = annotationNames(options.annotationPrefix)
  const session = new Session(openApiConfig(options), { ...defaultTiming, ...timing }, log)
  return new KubernetesStore(options, names, session, log)
}

/** The mark of this store in its lease cache. Throws ApiConfigError. */
export function kubernetesScope(options: KubernetesOptions): string {
  return scopeOf(loadAccess(options).url, annotationNames(options.annotationPrefix))
}

function scopeOf(url: string, { stem }: AnnotationNames): string {
  return `kubernetes ${url} ${stem}`
}

export class KubernetesStore implements LeaseStore, NodeReporter {
  readonly #options: KubernetesOptions
  readonly #names: AnnotationNames
  readonly #session: Session
  readonly #source: NodeSource
  readonly #reporter: Reporter
  readonly #lastSeen: LastSeen
  readonly #config: ConfigFile
  readonly #log: Log
  readonly #closing = new AbortController()
  #own: OwnNode | undefined
  #announced = false

  constructor(options: KubernetesOptions, names: AnnotationNames, session: Session, log: Log) {
    this.#options = options
    this.#names = names
    this.#session = session
    this.#source = new NodeSource(session, names.all)
    this.#reporter = new Reporter(this.#source)
    this.#lastSeen = new LastSeen(options.cacheFile, scopeOf(session.api.url, names), session, log)
    this.#config = new ConfigFile(options.networkConfigFile, log)
    this.#log = log
  }

  get reporter(): NodeReporter {
    return this
  }

  networkConfig(signal: AbortSignal, demands: ConfigDemands = {}): Promise<NetworkConfig> {
    return this.#config.read(signal, demands)
  }

  async acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const own = await this.#ownNode(signal)
    try {
      const live = (until: AbortSignal) => own.claim(request, until)
      return await this.#lastSeen.prefer(
        live,
        cached => own.reclaim(request, cached.leases),
        this.#until(signal),
      )
    } catch (cause) {
      if (cause instanceof LeaseRefusedError)
        await this.report({ key: own.name, reason: cause.message }, signal)
      throw cause
    }
  }

  async keep(lease: Lease, signal: AbortSignal, onKept: () => void = () => {}): Promise<void> {
    const own = await this.#ownNode(signal)
    const until = this.#until(signal)
    // A recreated Node has lost its conditions.
    const onRecreated = async () => {
      if (this.#announced) await this.announceReady(until)
    }
    const { configEveryMs } = this.#session.timing
    await runTogether(until, [
      all => own.keep(lease, { onRecreated, onKept }, all),
      all => this.#config.follow(configEveryMs, all),
    ])
  }

  watch(signal: AbortSignal): AsyncIterable<LeaseTableChange> {
    const network = this.#config.running
    const parts = {
      source: this.#source,
      names: this.#names,
      lastSeen: this.#lastSeen,
      log: this.#log,
      ownName: this.#own?.name,
      network,
      families: network && new Set(network.families.map(({ family }) => family)),
    }
    return watchPeers(parts, this.#until(signal))
  }

  async podAddresses(namespace: string, name: string, signal: AbortSignal): Promise<readonly Ip[]> {
    return await podAddresses(this.#session.api, namespace, name, this.#until(signal))
  }

  async publicIpHints(signal: AbortSignal): Promise<readonly Ip[]> {
    const own = await this.#ownNode(signal)
    const live = (until: AbortSignal) => own.publicIpHints(until)
    const hints = await this.#lastSeen.prefer(live, ({ notes }) => notes.hints, this.#until(signal))
    this.#lastSeen.noteHints(hints)
    return hints
  }

  async announceReady(signal: AbortSignal): Promise<void> {
    if (!this.#options.setNodeNetworkUnavailable) return
    const { name } = await this.#ownNode(signal)
    await this.#reporter.announceReady(name, this.#until(signal))
    this.#announced = true
  }

  async report(problem: LeaseProblem, signal: AbortSignal): Promise<void> {
    const { name } = await this.#ownNode(signal)
    if (problem.key === name) await this.#reporter.report(name, problem, this.#until(signal))
  }

  get endpoints(): readonly string[] {
    return [this.#session.url]
  }

  health(): StoreHealth {
    return { ...this.#session.health(), conflict: this.#own?.conflict, notice: this.#config.notice }
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('The Kubernetes store is closed'))
    this.#session.close()
    await this.#lastSeen.close()
  }

  #until(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal])
  }

  async #ownNode(signal: AbortSignal): Promise<OwnNode> {
    if (this.#own !== undefined) return this.#own
    const { nodeName, networkConfigFile } = this.#options
    const name = nodeName ?? (await this.#nodeOfPod(this.#until(signal)))
    const parts = { source: this.#source, names: this.#names, log: this.#log }
    this.#own ??= new OwnNode({ ...parts, name, networkConfigFile })
    return this.#own
  }

  async #nodeOfPod(signal: AbortSignal): Promise<string> {
    const { podName = '', podNamespace = '' } = this.#options
    const attempt = async () => {
      const pod = await getPod(this.#session.api, podNamespace, podName, signal)
      const name = textAt(pod, 'spec', 'nodeName')
      if (!name)
        throw new Error(`Cannot get pods: ${podNamespace}/${podName} has no spec.nodeName; set NODE_NAME`)
      return name
    }
    return await this.#session.persist(`read the Node of Pod ${podNamespace}/${podName}`, attempt, signal)
  }
}
