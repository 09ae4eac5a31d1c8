import { describe, expect, it } from 'vitest'
import {
  type AgentConfig,
  ConfigError,
  parseCommandLine,
  parseStoreOptions,
} from '../../../agent/config/config.ts'
import { allFlags, type Env, variableName } from '../../../agent/config/flags.ts'

function config(line: string, env: Env = {}): AgentConfig {
  const parsed = parseCommandLine(line === '' ? [] : line.split(' '), env)
  if (parsed.asks !== 'run') throw new Error(`asks for ${parsed.asks}`)
  return parsed.config
}

describe('the configuration', () => {
  it("has flanneld's defaults", () => {
    expect(config('')).toEqual({
      store: {
        kind: 'etcd',
        endpoints: ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'],
        prefix: '/coreos.com/network',
        caFile: undefined,
        certFile: undefined,
        keyFile: undefined,
        username: undefined,
        password: undefined,
        renewMarginMs: 3_600_000,
        cacheFile: '/var/lib/twill/leases.json',
      },
      interfaces: { iface: [], ifaceRegex: [], ifaceCanReach: undefined },
      publicIps: { ipv4: undefined, ipv6: undefined },
      subnetFile: '/run/flannel/subnet.env',
      cniConfigFile: undefined,
      firewall: {
        ipMasq: false,
        randomPorts: true,
        forwardRules: true,
        forwardFirst: false,
        resyncMs: 5_000,
      },
      healthz: undefined,
      embeddedEtcd: undefined,
      logLevel: 'info',
      leaseLost: 'wait',
      resyncMs: 60_000,
      warnings: [],
    })
  })

  it("takes the arguments and variables of flannel's own DaemonSet, and says what does nothing", () => {
    const env = {
      POD_NAME: 'kube-flannel-ds-x',
      POD_NAMESPACE: 'kube-flannel',
      EVENT_QUEUE_DEPTH: '5000',
      CONT_WHEN_CACHE_NOT_READY: 'false',
    }
    const { store, healthz, warnings, firewall } = config(
      '--ip-masq --kube-subnet-mgr --healthz-port=8081',
      env,
    )
    expect(store).toEqual({
      kind: 'kubernetes',
      nodeName: undefined,
      podName: 'kube-flannel-ds-x',
      podNamespace: 'kube-flannel',
      apiUrl: undefined,
      kubeconfigFile: undefined,
      annotationPrefix: 'flannel.alpha.coreos.com',
      networkConfigFile: '/etc/kube-flannel/net-conf.json',
      setNodeNetworkUnavailable: true,
      cacheFile: '/var/lib/twill/leases.json',
    })
    expect(healthz).toEqual({ ip: '0.0.0.0', port: 8081 })
    expect(firewall.ipMasq).toBe(true)
    expect(warnings).toEqual([
      'EVENT_QUEUE_DEPTH does nothing, and nothing is needed: changes are folded, there is no queue',
      'CONT_WHEN_CACHE_NOT_READY does nothing, and nothing is needed: the agent waits for the API as long as it takes',
    ])
  })

  it('has every flag of flanneld', () => {
    const flanneld =
      'etcd-endpoints etcd-prefix etcd-keyfile etcd-certfile etcd-cafile etcd-username etcd-password iface iface-regex ' +
      'iface-can-reach subnet-file public-ip public-ipv6 subnet-lease-renew-margin ip-masq ip-masq-fully-random-disable ' +
      'kube-subnet-mgr kube-api-url kubeconfig-file kube-annotation-prefix net-config-path healthz-ip healthz-port ' +
      'iptables-resync iptables-forward-rules ip-blackhole-route set-node-network-unavailable version v vmodule ' +
      'log_backtrace_at'
    expect(Object.keys(allFlags)).toEqual(expect.arrayContaining(flanneld.split(' ')))
  })

  it('takes a variable only where the flag is not given and the variable is not empty', () => {
    const env = { FLANNELD_SUBNET_FILE: '/a', FLANNELD_IFACE: 'eth1', FLANNELD_HEALTHZ_IP: '' }
    expect(config('', env).subnetFile).toBe('/a')
    expect(config('--subnet-file=/b', env).subnetFile).toBe('/b')
    expect(config('', env).interfaces.iface).toEqual(['eth1'])
    expect(config('-iface a -iface b', env).interfaces.iface).toEqual(['a', 'b'])
    expect(config('--healthz-port=1', env).healthz?.ip).toBe('0.0.0.0')
    expect(variableName('log_backtrace_at')).toBe('FLANNELD_LOG_BACKTRACE_AT')
  })

  it('passes over a variable that cannot be read, and words behind the flags, and says so', () => {
    expect(config('', { FLANNELD_HEALTHZ_PORT: 'http' }).warnings).toEqual([
      'Variable FLANNELD_HEALTHZ_PORT is passed over: invalid value "http" for flag -healthz-port: parse error',
    ])
    expect(config('', { FLANNELD_IFACES: 'eth0' }).warnings).toContain(
      'Variable FLANNELD_IFACES is passed over: there is no such flag',
    )
    expect(config('--ip-masq=false false --kube-subnet-mgr').warnings).toEqual([
      "Arguments 'false --kube-subnet-mgr' are passed over: flags end at the first word that is none",
    ])
  })

  it('names each setting that was made and does nothing, but not one that is off', () => {
    const names = config(
      '--iptables-resync=9 --iptables-forward-rules --ip-blackhole-route=true --vmodule=a=1',
      {
        WIREGUARD_KEY_FILE: '/k',
      },
    ).warnings.map(text => text.split(' ')[0])
    expect(names).toEqual(['--ip-blackhole-route', '--vmodule', 'WIREGUARD_KEY_FILE'])
    expect(config('--ip-masq=false --iptables-forward-rules=false').warnings).toEqual([])
  })

  it('answers --version and --help before it looks at the rest', () => {
    expect(parseCommandLine(['--version', '--resync=0'], {})).toEqual({ asks: 'version' })
    const help = parseCommandLine(['-h'], {})
    expect(help.asks === 'help' && help.text).toContain('--etcd-prefix string\n')
  })

  it.each([
    ['--subnet-lease-renew-margin=0', '--subnet-lease-renew-margin is 0: it must be 1 to 1439'],
    ['--subnet-lease-renew-margin=1440', '--subnet-lease-renew-margin is 1440: it must be 1 to 1439'],
    ['--healthz-port=65536', '--healthz-port is 65536: it must be 0 to 65535'],
    ['--resync=0', '--resync is 0: it must be 1 to 86400'],
    ['--lease-lost=panic', "--lease-lost is 'panic': it must be wait or exit"],
    ['--public-ip=eth0', "--public-ip: Cannot parse IP address 'eth0'"],
    ['--public-ip=fd00::1', "--public-ip is 'fd00::1': it must be an ipv4 address"],
    ['--iface-regex=(', "--iface-regex '(' is no regular expression"],
    ['--etcd-endpoints=ftp://h', "--etcd-endpoints has 'ftp://h': it must look like http://host:2379"],
    ['--etcd-endpoints=,', '--etcd-endpoints is empty'],
    ['--etcd-prefix=', '--etcd-prefix is empty'],
    ['--etcd-certfile=/c', 'Only one of --etcd-certfile and --etcd-keyfile is given'],
    ['--embedded-etcd --kube-subnet-mgr', '--embedded-etcd and --kube-subnet-mgr exclude each other'],
  ])('refuses %s', (line, message) => {
    expect(() => config(line)).toThrow(ConfigError)
    expect(() => config(line)).toThrow(message)
  })

  it('reads addresses, patterns and levels', () => {
    const { interfaces, publicIps, logLevel, leaseLost } = config(
      '--iface-regex=(?i)^ETH --iface-can-reach=10.0.0.1 --public-ip=192.168.0.7 --public-ipv6=FD00::7 -v=4 --lease-lost=exit',
    )
    expect(interfaces.ifaceRegex).toEqual([/^ETH/i])
    expect(interfaces.ifaceCanReach).toBe('10.0.0.1')
    expect(publicIps).toEqual({ ipv4: '192.168.0.7', ipv6: 'fd00::7' })
    expect({ logLevel, leaseLost }).toEqual({ logLevel: 'debug', leaseLost: 'exit' })
  })

  it('lets an embedded etcd be its own store, unless another endpoint is given', () => {
    expect(config('--embedded-etcd')).toMatchObject({
      embeddedEtcd: { dataDir: '/var/lib/twill/etcd' },
      store: { endpoints: ['http://127.0.0.1:2379'] },
    })
    expect(config('--embedded-etcd --etcd-endpoints=http://10.0.0.1:2379').store).toMatchObject({
      endpoints: ['http://10.0.0.1:2379'],
    })
  })
})

describe('the store options', () => {
  const etcd = (line: string) => config(line).store

  it('take endpoints with and without scheme and port', () => {
    expect(etcd('--etcd-endpoints=10.0.0.1,https://[fd00::1]:443,http://db/,')).toMatchObject({
      endpoints: ['http://10.0.0.1:2379', 'https://[fd00::1]:443', 'http://db:2379'],
    })
  })

  it('honour a CA alone', () => {
    expect(etcd('--etcd-cafile=/ca --etcd-endpoints=db:2379')).toMatchObject({
      caFile: '/ca',
      endpoints: ['https://db:2379'],
    })
    expect(config('--etcd-cafile=/ca --etcd-endpoints=http://db:2379').warnings).toContain(
      'Certificates are given but http://db:2379 is spoken to in the clear: write https:// there',
    )
  })

  it('join the prefix as flanneld does', () => {
    expect(etcd('--etcd-prefix=//a/b/')).toMatchObject({ prefix: '/a/b' })
    expect(etcd('--etcd-prefix=a/b')).toMatchObject({ prefix: 'a/b' })
  })

  it('can be had alone, from the same flags and variables, and never from the cache', () => {
    const { store } = parseStoreOptions(['-etcd-prefix', '/x'], { FLANNELD_ETCD_ENDPOINTS: 'http://h:1' })
    expect(store).toMatchObject({ endpoints: ['http://h:1'], prefix: '/x', cacheFile: undefined })
    expect(parseStoreOptions(['--kube-subnet-mgr'], { NODE_NAME: 'n1' }).store).toMatchObject({
      kind: 'kubernetes',
      nodeName: 'n1',
    })
  })
})
