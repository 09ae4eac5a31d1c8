import { describe, expect, it } from 'vitest'
import { parseCommandLine } from '../../../agent/config/config.ts'

interface Start {
  readonly as: string
  readonly line: string
  readonly env?: Readonly<Record<string, string>>
  /** What flanneld 0.28 makes of it, in our names. */
  readonly flanneld: object
  readonly warnings?: readonly string[]
}

/** Starts of flanneld as units, manifests and templates of others have them; addresses and names are replaced. */
const starts: readonly Start[] = [
  {
    as: "CentOS's unit: one dash, options from /etc/sysconfig/flanneld",
    line: '-etcd-endpoints=http://10.1.0.2:2379 -etcd-prefix=/atomic.io/network --iface=ens192 -ip-masq=true',
    flanneld: {
      store: { endpoints: ['http://10.1.0.2:2379'], prefix: '/atomic.io/network' },
      interfaces: { iface: ['ens192'] },
      firewall: { ipMasq: true },
    },
  },
  {
    as: "Container Linux's options.env and etcd over TLS",
    line: '--ip-masq=true',
    env: {
      FLANNELD_IFACE: '10.1.0.4',
      FLANNELD_ETCD_ENDPOINTS: 'https://e1.example:2379,https://e2.example:2379',
      FLANNELD_ETCD_CAFILE: '/etc/ssl/etcd/ca.pem',
      FLANNELD_ETCD_CERTFILE: '/etc/ssl/etcd/client.pem',
      FLANNELD_ETCD_KEYFILE: '/etc/ssl/etcd/client-key.pem',
    },
    flanneld: {
      store: {
        endpoints: ['https://e1.example:2379', 'https://e2.example:2379'],
        caFile: '/etc/ssl/etcd/ca.pem',
        certFile: '/etc/ssl/etcd/client.pem',
      },
      interfaces: { iface: ['10.1.0.4'] },
    },
  },
  {
    as: "Kubespray's DaemonSet",
    line: '--ip-masq --kube-subnet-mgr --iface-regex=^10\\.1\\.[[:digit:]]+\\. -v=2',
    env: { POD_NAME: 'kube-flannel-x', POD_NAMESPACE: 'kube-system' },
    flanneld: {
      store: { kind: 'kubernetes', podName: 'kube-flannel-x', podNamespace: 'kube-system' },
      log: { level: 'trace' },
      firewall: { ipMasq: true },
    },
  },
  {
    as: "a chart's DaemonSet whose values leave flags empty",
    line: '--kube-subnet-mgr --ip-masq --iface= --iface-can-reach= --public-ip= --healthz-port=8081 --v=0',
    env: {
      NODE_NAME: 'worker-1',
      EVENT_QUEUE_DEPTH: '5000',
      CONT_WHEN_CACHE_NOT_READY: 'false',
      FLANNELD_IFACE: '',
    },
    flanneld: {
      interfaces: { iface: [], ifaceCanReach: undefined },
      healthz: { port: 8081 },
      log: { level: 'info' },
    },
  },
  {
    as: 'a Vagrant box with two interfaces',
    line: '--iface=eth1 --iface=enp0s8 --ip-masq --kube-subnet-mgr --kubeconfig-file=/etc/kubernetes/flannel.conf',
    flanneld: {
      interfaces: { iface: ['eth1', 'enp0s8'] },
      store: { kubeconfigFile: '/etc/kubernetes/flannel.conf' },
    },
  },
  {
    as: 'the old backends: a WireGuard key is said to be without effect',
    line: '--ip-masq --subnet-lease-renew-margin=120 --subnet-file=/run/flannel/2.env',
    env: { WIREGUARD_KEY_FILE: '/etc/flannel/wg' },
    flanneld: { subnetFile: '/run/flannel/2.env', store: { renewMarginMs: 7_200_000 } },
    warnings: ['WIREGUARD_KEY_FILE has no effect: there is no WireGuard backend'],
  },
]

describe('a start of flanneld', () => {
  it.each(starts)('means the same here: $as', async ({ line, env = {}, flanneld, warnings = [] }) => {
    const parsed = await parseCommandLine(line.split(' '), env)
    if (parsed.asks !== 'run') throw new Error(`asks for ${parsed.asks}`)
    expect(parsed.config).toMatchObject(flanneld)
    expect(parsed.config.warnings).toEqual(warnings)
  })
})
