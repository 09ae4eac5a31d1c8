import { describe, expect, it } from 'vitest'
import { type AgentConfig, parseCommandLine } from '../../../agent/config/config.ts'
import { allFlags, type Env, variableName } from '../../../agent/config/flags.ts'
import { FlagError } from '../../../agent/config/go_flags.ts'
import { ConfigError } from '../../../agent/config/values.ts'
import { printJoinToken } from '../../../lease/join_token.ts'

async function config(line: string, env: Env = {}): Promise<AgentConfig> {
  const parsed = await parseCommandLine(line === '' ? [] : line.split(' '), env)
  if (parsed.asks !== 'run') throw new Error(`asks for ${parsed.asks}`)
  return parsed.config
}

describe('the configuration', () => {
  it("has flanneld's defaults", async () => {
    expect(await config('')).toEqual({
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
      healthzDetails: false,
      blackholeRoute: false,
      log: { level: 'info', format: undefined, journalStream: undefined },
      txChecksum: 'auto',
      tunnelFilter: false,
      probePort: 8473,
      localSocket: '/run/twill/twilld.sock',
      leaseLost: 'wait',
      supervision: { socket: undefined, watchdogMs: undefined },
      underlayPatienceMs: 10_000,
      resyncMs: 60_000,
      warnings: [],
      notes: [],
      settings: expect.any(Object),
    })
  })

  it("takes the arguments and variables of flannel's own DaemonSet, and says what does nothing", async () => {
    const env = {
      POD_NAME: 'kube-flannel-ds-x',
      POD_NAMESPACE: 'kube-flannel',
      EVENT_QUEUE_DEPTH: '5000',
      CONT_WHEN_CACHE_NOT_READY: 'false',
    }
    const { store, healthz, warnings, notes, firewall } = await config(
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
    expect([warnings, notes]).toEqual([[], []])
  })

  it('has every flag of flanneld', async () => {
    const flanneld =
      'etcd-endpoints etcd-prefix etcd-keyfile etcd-certfile etcd-cafile etcd-username etcd-password iface iface-regex ' +
      'iface-can-reach subnet-file public-ip public-ipv6 subnet-lease-renew-margin ip-masq ip-masq-fully-random-disable ' +
      'kube-subnet-mgr kube-api-url kubeconfig-file kube-annotation-prefix net-config-path healthz-ip healthz-port ' +
      'iptables-resync iptables-forward-rules ip-blackhole-route set-node-network-unavailable version v vmodule ' +
      'log_backtrace_at'
    expect(Object.keys(allFlags)).toEqual(expect.arrayContaining(flanneld.split(' ')))
  })

  it('takes a variable only where the flag is not given and the variable is not empty', async () => {
    const env = { FLANNELD_SUBNET_FILE: '/a', FLANNELD_IFACE: 'eth1', FLANNELD_HEALTHZ_IP: '' }
    expect((await config('', env)).subnetFile).toBe('/a')
    expect((await config('--subnet-file=/b', env)).subnetFile).toBe('/b')
    expect((await config('', env)).interfaces.iface).toEqual(['eth1'])
    expect((await config('-iface a -iface b', env)).interfaces.iface).toEqual(['a', 'b'])
    expect((await config('--healthz-port=1', env)).healthz?.ip).toBe('0.0.0.0')
    expect(variableName('log_backtrace_at')).toBe('FLANNELD_LOG_BACKTRACE_AT')
  })

  it('passes over a variable that cannot be read, and words behind the flags, and says so', async () => {
    expect((await config('', { FLANNELD_HEALTHZ_PORT: 'http' })).warnings).toEqual([
      'Variable FLANNELD_HEALTHZ_PORT is ignored: invalid value "http" for flag -healthz-port: parse error',
    ])
    expect((await config('', { FLANNELD_IFACES: 'eth0' })).warnings).toContain(
      'Variable FLANNELD_IFACES is ignored: there is no such flag',
    )
    expect((await config('--ip-masq=false false --kube-subnet-mgr')).warnings).toEqual([
      "Arguments 'false --kube-subnet-mgr' are ignored: flags end at the first word that is not one",
    ])
  })

  it('names each setting that was made and has no effect: at warn where an operator may count on it', async () => {
    const names = (texts: readonly string[]) => texts.map(text => text.split(' ')[0])
    const { warnings, notes } = await config('--iptables-resync=9 --iptables-forward-rules --vmodule=a=1', {
      WIREGUARD_KEY_FILE: '/k',
      EVENT_QUEUE_DEPTH: 'many',
      CONT_WHEN_CACHE_NOT_READY: 'true',
      FLANNELD_LOG_BACKTRACE_AT: 'main.go:12',
    })
    expect(names(warnings)).toEqual(['WIREGUARD_KEY_FILE'])
    expect(names(notes)).toEqual([
      '--vmodule',
      '--log_backtrace_at',
      'EVENT_QUEUE_DEPTH',
      'CONT_WHEN_CACHE_NOT_READY',
    ])
    expect((await config('--ip-masq=false --iptables-forward-rules=false')).warnings).toEqual([])
  })

  it.each([
    ['--vmodule=vxlan', 'expect comma-separated list of filename=N'],
    ['--vmodule=vxlan=high', 'expect comma-separated list of filename=N'],
    ['--vmodule=vxlan=-1', 'negative value'],
    ['--log_backtrace_at=main.go', 'expect file.go:234'],
    ['--log_backtrace_at=main.go:0', 'negative or zero'],
  ])('checks %s as klog does', async (line, message) => {
    await expect(config(line)).rejects.toThrow(FlagError)
    await expect(config(line)).rejects.toThrow(message)
  })

  it.each(['vmodule=a=1,b*=2', 'vmodule=', 'log_backtrace_at=main.go:12'])('takes --%s', async flag => {
    expect((await config(`--${flag}`)).warnings).toEqual([])
  })

  it.each(Object.keys(allFlags))('counts an empty --%s and an empty variable as not given', async name => {
    const whole = await config('')
    expect(await config(`--${name}=`)).toEqual(whole)
    expect(await config('', { [variableName(name)]: '' })).toEqual(whole)
  })

  it('says of each setting where it came from, and masks a password', async () => {
    const env = {
      FLANNELD_ETCD_PASSWORD: 'secret',
      FLANNELD_ETCD_PROXY: 'http://u:secret@p:1',
      NODE_NAME: 'n1',
    }
    const { settings } = await config('-ip-masq --iface=eth0 --iface=eth1 --etcd-username=u', env)
    expect(settings).toMatchObject({
      'ip-masq': 'true (flag)',
      iface: 'eth0,eth1 (flag)',
      'etcd-password': '*** (variable FLANNELD_ETCD_PASSWORD)',
      'etcd-proxy': 'http://***@p:1 (variable FLANNELD_ETCD_PROXY)',
      'etcd-prefix': '/coreos.com/network (default)',
      'public-ip': '(default)',
      NODE_NAME: 'n1 (variable)',
    })
    expect(JSON.stringify(settings)).not.toContain('secret')
  })

  it.each([
    ['etcd-proxy', 'http://u:s3cret@p:1', 'http://***@p:1'],
    ['kube-api-url', 'u:s3cret@10.0.0.1:6443', '***@10.0.0.1:6443'],
    ['kube-api-url', 's3cret@10.0.0.1:6443', '***@10.0.0.1:6443'],
    ['kube-api-url', 'https://u:s3c/ret@10.0.0.1:6443', 'https://***@10.0.0.1:6443'],
  ])(
    'shows the setting --%s=%s without its login, as a flag and as a variable',
    async (flag, value, shown) => {
      expect((await config(`--${flag}=${value}`)).settings[flag]).toBe(`${shown} (flag)`)
      const variable = variableName(flag)
      expect((await config('', { [variable]: value })).settings[flag]).toBe(`${shown} (variable ${variable})`)
    },
  )

  it.each([
    ['--etcd-endpoints=root:s3cret@10.0.0.1:2379', "'***@10.0.0.1:2379'"],
    ['--etcd-endpoints=root:s3,s3cret@10.0.0.1:2379', "'***@10.0.0.1:2379'"],
    ['--etcd-endpoints=10.0.0.1,root:s3cret@10.0.0.2', "'***@10.0.0.2'"],
    ['--etcd-endpoints=http://root:s3/s3cret@10.0.0.1', "'http://***@10.0.0.1'"],
    ['--etcd-proxy=u:s3cret@h:3128', "'***@h:3128'"],
    ['--etcd-proxy=http://u:31/s3cret@h', "'http://***@h'"],
    ['--healthz-port --etcd-password=s3cret', '\\"--etcd-password=***\\"'],
  ])('refuses %s without its password', async (line, shown) => {
    const error: unknown = await config(line).catch(refused => refused)
    expect(JSON.stringify(`${error}`)).toContain(shown)
    expect(`${error}`).not.toMatch(/s3/)
  })

  it.each([
    ['true --etcd-password=s3cret --ip-masq', 'true --etcd-password=*** --ip-masq'],
    ['true --etcd-pasword s3cret', 'true --etcd-pasword ***'],
    ['true -etcd-pasword=s3cret', 'true -etcd-pasword=***'],
    ['--etcd-password= s3cret', '***'],
    ['--iface=eth0 eth1 --join s3cret', 'eth1 --join ***'],
  ])('passes over the words behind the flags without their passwords: %s', async (line, shown) => {
    const { warnings, settings } = await config(line)
    expect(warnings).toContainEqual(expect.stringContaining(`Arguments '${shown}' are ignored`))
    expect(JSON.stringify([warnings, settings])).not.toContain('s3cret')
  })

  it('answers --version and --help before it looks at the rest', async () => {
    expect(await parseCommandLine(['--version', '--resync=0'], {})).toEqual({ asks: 'version' })
    const help = await parseCommandLine(['-h'], {})
    expect(help.asks === 'help' && help.text).toContain('--etcd-prefix string\n')
  })

  it.each([
    ['--subnet-lease-renew-margin=0', '--subnet-lease-renew-margin is 0: it must be 1 to 1439'],
    ['--subnet-lease-renew-margin=1440', '--subnet-lease-renew-margin is 1440: it must be 1 to 1439'],
    ['--healthz-port=65536', '--healthz-port is 65536: it must be 0 to 65535'],
    ['--resync=0', '--resync is 0: it must be 1 to 86400'],
    ['--underlay-patience=1m30', 'a duration of at most 24h is needed'],
    ['--underlay-patience=-1s', "--underlay-patience is '-1s'"],
    ['--underlay-patience=25h', "--underlay-patience is '25h'"],
    ['--lease-lost=panic', "Cannot use --lease-lost 'panic': wait or exit is needed"],
    ['--public-ip=eth0', "--public-ip: Cannot parse IP address 'eth0'"],
    ['--public-ip=fd00::1', "--public-ip is 'fd00::1': it must be an ipv4 address"],
    [
      '--iface-regex=(',
      "--iface-regex '(' is no regular expression: error parsing regexp: missing closing )",
    ],
    ['--iface-regex=eth(?=0)', "--iface-regex 'eth(?=0)' is no regular expression"],
    ['--etcd-endpoints=ftp://h', "--etcd-endpoints has 'ftp://h': it must look like http://host:2379"],
    ['--etcd-endpoints=,', '--etcd-endpoints is empty'],
    ['--etcd-endpoints=http://u:secret@h', "--etcd-endpoints has 'http://***@h': it must look like"],
    ['--etcd-certfile=/c', 'Only one of --etcd-certfile and --etcd-keyfile is given'],
    ['--embedded-etcd --kube-subnet-mgr', '--embedded-etcd and --kube-subnet-mgr exclude each other'],
    ['--member', '--member needs --join'],
    ['--embedded-etcd --join=/token', '--embedded-etcd and --join exclude each other'],
  ])('refuses %s', async (line, message) => {
    await expect(config(line)).rejects.toThrow(ConfigError)
    await expect(config(line)).rejects.toThrow(message)
  })

  it('reads addresses, patterns and levels', async () => {
    const { interfaces, publicIps, log, leaseLost } = await config(
      '--iface-regex=(?i)^ETH --iface-can-reach=10.0.0.1 --public-ip=192.168.0.7 --public-ipv6=FD00::7 -v=4 --lease-lost=exit',
    )
    expect(interfaces.ifaceRegex.map(({ source, test }) => [source, test('eth0')])).toEqual([
      ['(?i)^ETH', true],
    ])
    expect(interfaces.ifaceCanReach).toBe('10.0.0.1')
    expect(publicIps).toEqual({ ipv4: '192.168.0.7', ipv6: 'fd00::7' })
    expect([log.level, leaseLost]).toEqual(['trace', 'exit'])
    expect((await config('-v=1')).log.level).toBe('debug')
    expect((await config('--log-format=text')).log.format).toBe('text')
    await expect(config('--tx-checksum=yes')).rejects.toThrow(
      "Cannot use --tx-checksum 'yes': auto, on or off is needed",
    )
    await expect(config('--log-format=xml')).rejects.toThrow(
      "Cannot use --log-format 'xml': auto, json or text is needed",
    )
  })

  it.each([
    ['10s', 10_000],
    ['500ms', 500],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['7', 7_000],
    ['0', 0],
  ])('reads the duration %s as Go does, a bare number in seconds', async (text, ms) => {
    expect((await config(`--underlay-patience=${text}`)).underlayPatienceMs).toBe(ms)
  })

  // Each as Go's regexp answers it.
  it.each([
    ['^eth[[:digit:]]$', 'eth0', true],
    ['^(?i:ETH)0$', 'eth0', true],
    ['^(?P<kind>en)p', 'enp3s0', true],
    ['^\\pL+$', 'bond', true],
    ['\\Aeth\\z', 'eth0', false],
    ['192\\.168\\.(1|50)\\.', '192.168.50.7', true],
  ])('reads --iface-regex %s as Go does', async (source, name, matches) => {
    const { interfaces } = await config(`--iface-regex=${source}`)
    expect(interfaces.ifaceRegex[0]?.test(name)).toBe(matches)
  })

  it('lets an embedded etcd be its own store, unless another endpoint is given', async () => {
    expect(await config('--embedded-etcd')).toMatchObject({
      store: {
        endpoints: ['https://127.0.0.1:2379'],
        embedded: { dataDir: '/var/lib/twill/etcd', isPlain: false },
      },
    })
    expect((await config('--embedded-etcd --etcd-endpoints=http://10.0.0.1:2379')).store).toMatchObject({
      endpoints: ['https://10.0.0.1:2379'],
    })
    expect((await config('--embedded-etcd --embedded-etcd-plain')).store).toMatchObject({
      endpoints: ['http://127.0.0.1:2379'],
      embedded: { isPlain: true },
    })
  })

  it('shows no join token among the effective settings, and warns where other processes can see it', async () => {
    const token = printJoinToken({
      endpoints: ['https://10.0.0.1:2379'],
      prefix: '/x',
      secret: Buffer.alloc(16, 1),
    })
    for (const one of [await config(`--join=${token}`), await config('', { FLANNELD_JOIN: token })])
      expect(JSON.stringify([one.settings, one.warnings, one.notes])).not.toContain(token)
    expect((await config(`--join=${token}`)).settings.join).toBe('*** (flag)')
    expect((await config(`--join=${token}`)).warnings).toEqual([
      expect.stringMatching(/^--join can be read by every process of this host/),
    ])
    expect((await config('', { FLANNELD_JOIN: token })).warnings).toEqual([])
  })
})
