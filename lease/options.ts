/** Which store to open and how; the flags and variables of flanneld, parsed. */
export type StoreOptions = EtcdOptions | KubernetesOptions

/** flannel's own key prefix in etcd. */
export const DEFAULT_PREFIX = '/coreos.com/network'

export interface EtcdOptions {
  readonly kind: 'etcd'
  /** `http://host:port` or `https://host:port`, at least one. */
  readonly endpoints: readonly string[]
  /** Starts with `/`, ends without: `/coreos.com/network`. */
  readonly prefix: string
  /** PEM files, read again when they change. A CA without certificate and key is allowed. */
  readonly caFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  /** `http://[user:password@]host:port`, by CONNECT; undefined: directly, whatever https_proxy says. */
  readonly proxy?: string | undefined
  /** How long before its end a lease is renewed, in ms. */
  readonly renewMarginMs: number
  /** File of the last known leases, for a start without the store; undefined: none is kept. */
  readonly cacheFile: string | undefined
  /** This host runs etcd itself, or, with `joinSecret`, a member of it; its data lie in `dataDir`. */
  readonly embedded?: {
    readonly dataDir: string
    /** Without TLS: every host that can reach its port can write. */
    readonly isPlain: boolean
  }
  /** The secret of a join token: this host derives its client certificate from it, and has no TLS files. */
  readonly joinSecret?: Uint8Array
}

export interface KubernetesOptions {
  readonly kind: 'kubernetes'
  /** NODE_NAME; where undefined it is read from the pod named below. */
  readonly nodeName: string | undefined
  readonly podName: string | undefined
  readonly podNamespace: string | undefined
  /** Both undefined: in-cluster. */
  readonly apiUrl: string | undefined
  readonly kubeconfigFile: string | undefined
  readonly annotationPrefix: string
  readonly networkConfigFile: string
  readonly setNodeNetworkUnavailable: boolean
  readonly cacheFile: string | undefined
}
