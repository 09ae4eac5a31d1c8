/** Which store to open and how; the flags and variables of flanneld, parsed. */
export type StoreOptions = EtcdOptions | KubernetesOptions

export interface EtcdOptions {
  readonly kind: 'etcd'
  /** `http://host:port` or `https://host:port`, at least one. */
  readonly endpoints: readonly string[]
  /** Starts with `/`, ends without: `/coreos.com/network`. */
  readonly prefix: string
  /** PEM files; undefined where not given. A CA alone is honoured. Read again when they change. */
  readonly caFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  /** How long before its end a lease is renewed. */
  readonly renewMarginMs: number
  /** Last known leases are kept in here, so that a start with the store away brings the overlay up; undefined: nowhere. */
  readonly cacheFile: string | undefined
  /** This host runs the etcd itself, with its data in that folder. */
  readonly embedded?: { readonly dataDir: string }
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
  /** As given: `flannel.alpha.coreos.com`. */
  readonly annotationPrefix: string
  readonly networkConfigFile: string
  readonly setNodeNetworkUnavailable: boolean
  readonly cacheFile: string | undefined
}
