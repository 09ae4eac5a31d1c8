import { describe, expect, it } from 'vitest'
import { Bed } from '../support/bed.ts'
import { type EtcdServer, etcdctlLimits, startEtcd } from '../support/etcd.ts'
import { sharedByTests } from '../support/shared_by_tests.ts'
import { BootedHost, LIB, whyNoSystemd } from '../support/systemd.ts'
import { until } from '../support/until.ts'

const why = whyNoSystemd()
if (why !== undefined) console.warn(why)

/** What `twill install` may leave on a host. */
const look = `
  find /etc /usr/local/lib/systemd -newer /run/marker '(' -type f -o -type l ')' | sort
  ip -br link | grep -o '^flannel[^@ ]*'; nft list tables | grep flannel; iptables-save | grep FLANNEL
  systemctl show --property=ActiveState,UnitFileState twilld`
/** Asks the etcd of that host itself. */
const tls = ['cacert=ca', 'cert=host', 'key=host'].map(
  text => `--${text.replace('=', '=/var/lib/twill/etcd/tls/')}.pem`,
)
const etcdctl = `ETCDCTL_API=3 etcdctl --endpoints=https://127.0.0.1:2379 ${[...etcdctlLimits, ...tls].join(' ')}`
/** An operator's own unit of an agent that runs, as it was for flanneld. */
const operators = `[Service]
Type=notify
RuntimeDirectory=twill flannel
Environment="FLANNELD_IFACE=eth0" 'FLANNELD_HEALTHZ_PORT=8081'
EnvironmentFile=-/etc/sysconfig/flanneld
ExecStart=${LIB}/twilld.js
`

describe.skipIf(why !== undefined)('twill install', () => {
  let bed: Bed
  let h1: BootedHost
  let h2: BootedHost
  let etcd: EtcdServer
  let untouched: string
  sharedByTests(async () => {
    bed = await Bed.create({ name: 'install' })
    const lan = await bed.segment('lan', ['192.168.50.0/24'])
    const store = await bed.host('store', lan)
    etcd = await startEtcd({ netns: store.netns, host: store.address() })
    const plain = await Promise.all(['h1', 'h2'].map(name => bed.host(name, lan)))
    ;[h1, h2] = (await Promise.all(plain.map(host => BootedHost.boot(host)))) as [BootedHost, BootedHost]
    for (const host of [h1, h2])
      await host.sh('touch /run/marker; sleep 0.05; echo 0 >/proc/sys/net/ipv4/ip_forward')
    untouched = await h1.sh(look)
    return { dispose }
  })
  async function dispose(): Promise<void> {
    await Promise.all([h1, h2].map(host => host.powerOff()))
    await etcd.remove()
    await bed.dispose()
  }

  it('changes nothing where something stands in the way, and says what mends it', async () => {
    const endpoint = etcd.endpoints[0] ?? ''
    const silent = await h1.twill('install', '--etcd-endpoints=http://192.168.50.99:2379')
    expect([silent.code, silent.stderr]).toEqual([4, expect.stringContaining('192.168.50.99')])
    const empty = await h1.twill('install', `--etcd-endpoints=${endpoint}`, '--iface=eth0')
    expect([empty.code, empty.stderr]).toEqual([4, expect.stringMatching(/network config/)])
    expect(await h1.twill('install', '--iface=eth0')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--first-host, --join=TOKEN or --etcd-endpoints='),
    })
    expect((await h1.twill('install', '--first-host', '--no-such-flag')).code).toBe(2)
    const interface_ = await h1.twill('install', '--first-host', '--iface=eth7')
    expect(interface_.code).toBe(1)
    expect(interface_.stderr).toMatch(
      /--iface eth7: no such interface.*: give --iface=NAME.*\ntwill: Nothing was changed/,
    )
    const listen = `IO::Socket::INET->new(LocalPort => 2379, Listen => 1) or die; system("touch /run/up"); sleep 600`
    await h1.sh(
      `systemd-run --unit=holder perl -MIO::Socket::INET -e 'push @s, ${listen}'; until [ -e /run/up ]; do sleep 0.1; done`,
    )
    const taken = await h1.twill('install', '--first-host', '--iface=eth0')
    expect([taken.code, taken.stderr]).toEqual([1, expect.stringContaining('systemctl disable --now etcd')])
    await h1.sh('systemctl stop holder')
    expect(await h1.sh(look)).toBe(untouched)
  })

  it('is no second agent beside flanneld', async () => {
    const unit = '/etc/systemd/system/flanneld.service'
    await h1.write(unit, '[Service]\nExecStart=/bin/sleep 600\n')
    await h1.sh('systemctl start flanneld')
    const refused = await h1.twill('install', '--first-host', '--iface=eth0')
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('systemctl disable --now flanneld'),
    ])
    await h1.sh(`systemctl stop flanneld; rm ${unit}; systemctl daemon-reload`)
    expect(await h1.sh(look)).toBe(untouched)
  })

  it('takes back what it did where a step fails', async () => {
    await h1.sh('touch -d yesterday /etc/systemd/system/twilld.service.d')
    const failed = await h1.twill('install', '--first-host', '--iface=eth0')
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/50-install.conf: Cannot write .*; what was done before is undone\n$/)
    await h1.sh('rm /etc/systemd/system/twilld.service.d')
    expect(await h1.sh(look)).toBe(untouched)
  })

  it('makes a first host and a next one in one command each, changes nothing when run again, and undoes it', async () => {
    const plan = await h1.twill('install', '--first-host', '--iface=eth0', '--dry-run')
    expect(plan.stdout).toContain('  systemctl start twilld\n')
    expect(await h1.sh(look)).toBe(untouched)

    const first = await h1.twill('install', '--first-host', '--iface=eth0')
    expect(first.code, `${first.stderr}${await h1.sh('journalctl -u twilld -o cat')}`).toBe(0)
    expect(first.stdout).toMatch(
      /\nready: 10\.244\.\S+, 0 peers\nThe next host, as root: twill install --join=twill1_/,
    )
    const [, next = ''] = /The next host, as root: twill (.*)/.exec(first.stdout) ?? []
    const words = [...next.split(' '), '--iface-regex=^eth0$|"a b"%i']
    const second = await h2.twill(...words)
    expect(second.code, second.stderr).toBe(0)
    expect(
      await h2.sh('tr "\\0" "\\n" </proc/$(systemctl show --value -p MainPID twilld)/cmdline'),
    ).toContain('\n--iface-regex=^eth0$|"a b"%i\n')
    const subnet = /FLANNEL_SUBNET=(.*)\.1\//.exec(await h2.sh('cat /run/flannel/subnet.env'))?.[1]
    await h1.reaches(`${subnet}.0`)

    const pid = await h2.sh('systemctl show --value -p MainPID twilld')
    expect((await h2.twill(...words)).stdout).toMatch(/^All is done already: nothing was changed\n/)
    expect(await h2.sh('systemctl show --value -p MainPID twilld')).toBe(pid)
    const changed = await h2.twill(...next.split(' '), '--iface=eth0', '--iptables-forward-rules=false')
    expect(changed.stdout).toMatch(/50-install.conf: .*\n.*daemon-reload: .*\n.*restart twilld: /)
    expect(await h2.sh('cat /run/flannel/subnet.env')).toContain(`${subnet}.1/`)
    expect(await h2.sh('iptables-save')).not.toContain('FLANNEL-FWD')

    const asMember = [...next.split(' '), '--iface=eth0', '--member']
    for (const turn of ['once', 'and again']) {
      const member = await h2.twill(...asMember)
      expect(member.code, `${turn}: ${member.stderr}`).toBe(0)
      const started = async () => (await h2.sh(`${etcdctl} member list`)).match(/started/g)?.length
      await until(`two members that have started, ${turn}`, async () => (await started()) === 2, {
        everyMs: 200,
        withinMs: 60_000,
      })
      expect((await h2.twill('uninstall', '--dry-run')).stdout).toMatch(
        / etcd-leave .*systemctl stop twilld.*rm -r /s,
      )
      expect(await h2.twill('uninstall')).toMatchObject({ code: 0, stderr: '' })
      expect(await h2.sh('ls /var/lib/twill')).toBe('')
      // A read that needs the majority.
      expect((await h1.sh(`${etcdctl} member list`)).trim().split('\n')).toHaveLength(1)
      expect(await h1.sh(`${etcdctl} get --keys-only --prefix /coreos.com/network/config`)).toContain(
        'config',
      )
    }

    for (const host of [h2, h1]) {
      expect(await host.twill('uninstall')).toMatchObject({
        code: 0,
        stderr: expect.not.stringContaining('Not undone'),
      })
      expect(await host.sh(look)).toBe(untouched)
    }
    expect((await h1.twill('uninstall')).stdout).toBe(
      'There is nothing to undo: twill install did nothing here\n',
    )
  }, 600_000)

  it("gives an operator's own unit its flags, and its old ones back", async () => {
    await etcd.ctl('put', '/coreos.com/network/config', '{"Network":"10.5.0.0/16"}')
    const [endpoint = ''] = etcd.endpoints
    await h2.write('/etc/systemd/system/twilld.service', operators)
    await h2.write(
      '/etc/sysconfig/flanneld',
      `# flanneld\nFLANNELD_ETCD_ENDPOINTS="${endpoint}"\nexport FLANNELD_IP_MASQ=true\n`,
    )
    await h2.write('/etc/systemd/system/docker.service', '[Service]\nExecStart=/bin/true\n')
    await h2.sh('systemctl start twilld')
    const withoutRules = async () => (await h2.sh(look)).replaceAll(/^.*FLANNEL.*\n/gm, '')
    const before = await withoutRules()
    const installed = await h2.twill('install', '--docker')
    expect(installed.code, installed.stderr).toBe(0)
    expect(installed.stderr).toBe(
      "twill: warning: systemd ignores 'export FLANNELD_IP_MASQ=...' in /etc/sysconfig/flanneld: remove the word export, or the " +
        'agent does not get it\n',
    )
    expect(installed.stdout).toContain(
      `The next host, as root: twill install --etcd-endpoints=${endpoint} --docker\n`,
    )
    expect(await h2.sh('systemctl show --property=ExecStart docker')).toContain('--ip-masq=false')
    expect((await h2.twill('uninstall')).code).toBe(0)
    await h2.sh('systemctl is-active twilld || systemctl start twilld')
    expect(await withoutRules()).toBe(before)
    await h2.sh(
      `systemctl stop twilld; ${LIB}/twill.js cleanup --yes --etcd-endpoints=${endpoint}; rm -r /etc/systemd/system/*.service /etc/sysconfig`,
    )
  })

  it('says what the agent waits for where it is not ready in time', async () => {
    await etcd.ctl('put', '/coreos.com/network/config', '{"Network":"10.6.0.0/28","SubnetLen":30}')
    for (const subnet of ['10.6.0.4-30', '10.6.0.8-30', '10.6.0.12-30'])
      await etcd.ctl(
        'put',
        `/coreos.com/network/subnets/${subnet}`,
        '{"PublicIP":"192.0.2.9","PublicIPv6":null}',
      )
    const late = await h1.twill(
      'install',
      `--etcd-endpoints=${etcd.endpoints[0]}`,
      '--iface=eth0',
      '--wait=30',
    )
    expect(late.code, late.stderr).toBe(5)
    expect(late.stderr).toMatch(
      /^twill: twilld runs and is not ready after 30 s: not ready: .*out of subnets/,
    )
    expect((await h1.twill('uninstall')).code).toBe(0)
    expect(await h1.sh(look)).toBe(untouched)

    const interrupted = await h1.sh(`
      ${LIB}/twill.js install --etcd-endpoints=${etcd.endpoints[0]} --iface=eth0 & installs=$!
      until systemctl is-active twilld | grep -q activating; do sleep 0.1; done
      kill -TERM $installs; wait $installs; echo "exit $?"`)
    expect(interrupted).toMatch(
      /exit 1\n.*interrupted by SIGTERM: the agent continues to start; twill uninstall undoes/s,
    )
    expect((await h1.twill('uninstall')).code).toBe(0)
    expect(await h1.sh(look)).toBe(untouched)
  })
})
