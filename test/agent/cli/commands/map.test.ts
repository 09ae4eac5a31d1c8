import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseStoreOptions } from '../../../../agent/config/store_options.ts'
import { exitCode } from '../../../../agent/exit_code.ts'
import { LeaseCache } from '../../../../lease/cache/lease_cache.ts'
import { silentLog } from '../../../../lease/common/log.ts'
import { lastSeenMarks } from '../../../../lease/registry.ts'
import { openTestCluster } from '../../../support/api_server_cluster.ts'
import { type EtcdServer, freePort, startEtcd } from '../../../support/etcd.ts'
import { vxlanLease } from '../../../support/leases.ts'
import { twill } from '../../../support/twill.ts'

describe('twill map on a real etcd', () => {
  const prefix = '/coreos.com/network'
  let etcd: EtcdServer
  let flags = ''

  beforeAll(async () => {
    etcd = await startEtcd()
    flags = `--etcd-endpoints=${etcd.endpoint} --timeout=30`
    await etcd.ctl('put', `${prefix}/config`, '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
    const value = (ip: string, mac: string, type = 'vxlan') =>
      `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"${type}","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`
    await etcd.ctl('put', `${prefix}/subnets/10.244.20.0-24`, value('192.168.0.2', '02:00:00:00:00:02'))
    await etcd.ctl('put', `${prefix}/subnets/10.244.3.0-24`, value('192.168.0.3', '02:00:00:00:00:03'))
    await etcd.ctl('put', `${prefix}/subnets/10.99.4.0-24`, value('192.168.0.4', '02:00:00:00:00:04'))
    await etcd.ctl('put', `${prefix}/subnets/10.244.5.0-24`, value('192.168.0.5', 'none'))
    await etcd.ctl('put', `${prefix}/subnets/10.244.6.0-24`, value('192.168.0.6', '02:00:00:00:00:06', 'udp'))
    await etcd.ctl('put', `${prefix}/subnets/junk\u001b[31m`, 'x')
  })
  afterAll(() => etcd.remove())

  it('prints who has which subnet, and says why a lease is refused', async () => {
    const { code, out, err } = await twill(`map ${flags}`)
    expect({ code, err }).toEqual({ code: exitCode.stopped, err: '' })
    const plain = out.replaceAll(/revision \d+/g, 'revision N')
    expect(plain.split('\n').slice(0, 9)).toEqual([
      'network 10.244.0.0/16, backend vxlan, 5 leases',
      '10.244.0.0/16 in /24s: 4 of 255 used (1.5 %), 0 reserved, 251 free',
      '',
      'NODE             SUBNET           PUBLIC IP     BACKEND   VTEP MAC            SINCE        EXPIRES   STATE',
      '10.99.4.0-24     10.99.4.0/24     192.168.0.4   vxlan     02:00:00:00:00:04   revision N   never     refused',
      '10.244.3.0-24    10.244.3.0/24    192.168.0.3   vxlan     02:00:00:00:00:03   revision N   never     ok',
      '10.244.5.0-24    10.244.5.0/24    192.168.0.5   vxlan     -                   revision N   never     refused',
      '10.244.6.0-24    10.244.6.0/24    192.168.0.6   udp       02:00:00:00:00:06   revision N   never     refused',
      '10.244.20.0-24   10.244.20.0/24   192.168.0.2   vxlan     02:00:00:00:00:02   revision N   never     ok',
    ])
    expect(plain).toContain(
      'refused 10.99.4.0-24: subnet 10.99.4.0/24 is outside of the network 10.244.0.0/16',
    )
    expect(plain).toMatch(/^refused 10\.244\.5\.0-24: its backend data .* names no usable VtepMAC/m)
    expect(plain).toContain("refused 10.244.6.0-24: its backend is 'udp', the network's is 'vxlan'\n")
  })

  it('tells when a lease was renewed and when it ends', async () => {
    const { leaseId } = { leaseId: (await etcd.ctl('lease', 'grant', '86400')).split(' ')[1] ?? '' }
    const key = `${prefix}/subnets/10.244.8.0-24`
    await etcd.ctl(
      'put',
      `--lease=${leaseId}`,
      key,
      '{"PublicIP":"192.168.0.8","PublicIPv6":null,"BackendType":"vxlan"}',
    )
    const [row] = JSON.parse((await twill(`map --json ${flags}`)).out).leases.filter(
      ({ node }: { node: string }) => node === '10.244.8.0-24',
    )
    const seconds = (Date.parse(row.expiresAt) - Date.parse(row.renewedAt)) / 1000
    expect(seconds).toBe(86_400)
    expect((await twill(`map ${flags}`)).out).toMatch(/^10\.244\.8\.0-24 .* \d+s +23h +refused$/m)
    await etcd.ctl('del', key)
  })

  it('takes no lease for its own because that names an address which every host has', async () => {
    const key = `${prefix}/subnets/10.244.9.0-24`
    await etcd.ctl('put', key, '{"PublicIP":"127.0.0.1","PublicIPv6":null,"BackendType":"vxlan"}')
    const { code, out, err } = await twill(`map ${flags}`)
    await etcd.ctl('del', key)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^10\.244\.9\.0-24 .* refused$/m)
  })

  it('shows what is no lease without letting it steer the terminal', async () => {
    const { out } = await twill(`map ${flags}`)
    expect(out).toMatch(/^no lease .*junk\\u001b\[31m: /m)
    expect(out).not.toContain('\u001b')
  })

  it('prints JSON for scripts, from the variables of the agent', async () => {
    const { out } = await twill('map --json --timeout=30', { FLANNELD_ETCD_ENDPOINTS: etcd.endpoint })
    const map = JSON.parse(out)
    expect(map).toMatchObject({ networks: ['10.244.0.0/16'], backend: 'vxlan' })
    expect(map.leases[1]).toEqual({
      node: '10.244.3.0-24',
      subnets: ['10.244.3.0/24'],
      publicIps: ['192.168.0.3'],
      backend: 'vxlan',
      vtepMacs: ['02:00:00:00:00:03'],
      since: expect.stringMatching(/^revision \d+$/),
      renewedAt: null,
      expiresAt: 'never',
      kernel: null,
      refused: null,
      note: null,
    })
    expect(map.problems).toHaveLength(1)
  })

  it('takes -o wide, as kubectl does', async () => {
    const wide = await twill(`map ${flags} --wide`)
    const line = await twill(`map ${flags} -o wide`)
    const withoutAges = (text: string) => text.replaceAll(/\d+[smh]/g, '')
    expect({ ...line, out: withoutAges(line.out) }).toEqual({ ...wide, out: withoutAges(wide.out) })
    expect(line.code).toBe(0)
  })

  it('says that there is no network config rather than wait without end', async () => {
    const { code, err } = await twill(`map ${flags.replace('=30', '=1')} --etcd-prefix=/none`)
    expect(code).toBe(exitCode.storeUnreachable)
    expect(err).toMatch(
      /^twill: Cannot read the network config: etcd has no network config: .*\/none\/config/,
    )
  })
})

describe('twill map on Kubernetes', () => {
  it('reads the Nodes without being one', async () => {
    const cluster = await openTestCluster('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
    try {
      const annotation = (name: string, value: string) => ({ [`flannel.alpha.coreos.com/${name}`]: value })
      await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
      await cluster.annotate('n1', {
        ...annotation('kube-subnet-manager', 'true'),
        ...annotation('backend-type', 'vxlan'),
        ...annotation('backend-data', '{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}'),
        ...annotation('public-ip', '192.168.0.1'),
      })
      const { kubeconfigFile, networkConfigFile } = cluster.options('n1')
      const flags = `--timeout=30 --kube-subnet-mgr --kubeconfig-file=${kubeconfigFile} --net-config-path=${networkConfigFile}`
      const { out, err } = await twill(`map --json ${flags}`)
      expect(err).toBe('')
      expect(JSON.parse(out).leases).toContainEqual({
        node: cluster.nodeName('n1'),
        subnets: ['10.244.1.0/24'],
        publicIps: ['192.168.0.1'],
        backend: 'vxlan',
        vtepMacs: ['02:00:00:00:00:01'],
        since: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        renewedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        expiresAt: 'never',
        kernel: null,
        refused: null,
        note: null,
      })
    } finally {
      await cluster.close()
    }
  })
})

describe('twill map where the API server does not answer', () => {
  it("shows what this host's agent saw last, and says so", async () => {
    const directory = mkdtempSync(join(tmpdir(), 'twill-seen-'))
    const [file, config] = [join(directory, 'leases.json'), join(directory, 'net-conf.json')]
    writeFileSync(config, '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}')
    const api = `http://127.0.0.1:${await freePort()}`
    const flags = ['--kube-subnet-mgr', `--kube-api-url=${api}`, `--net-config-path=${config}`]
    const { store } = parseStoreOptions(flags, {})
    const log = silentLog
    const { scope } = await lastSeenMarks(store)
    const cache = new LeaseCache({ file, scope, readNotes: notes => notes, saveMs: 0, log })
    const leases = [vxlanLease('n2', '02:00:00:00:00:02', '10.244.2.0/24 at 192.168.0.2')]
    cache.save(() => ({ savedAtMs: Date.now(), networkConfig: undefined, leases, notes: { hints: [] } }))
    await cache.close()
    const { code, out, err } = await twill(`map --cache-file=${file} ${flags.join(' ')}`)
    rmSync(directory, { recursive: true })
    expect(out).toMatch(/^n2 +10\.244\.2\.0\/24 .* ok$/m)
    expect(err).toMatch(/this is what the agent saw last, saved at 20/)
    expect(code).toBe(0)
  })
})

describe('twill', () => {
  it('says what does not answer, with a code of its own', async () => {
    const port = await freePort()
    const { code, err, out } = await twill(`map --timeout=1 --etcd-endpoints=http://127.0.0.1:${port}`)
    expect({ code, out }).toEqual({ code: exitCode.storeUnreachable, out: '' })
    expect(err).toMatch(new RegExp(`^twill: Cannot read the network config: .*127\\.0\\.0\\.1:${port}`))
  })

  it('has help, a version, and code 2 for what it cannot read', async () => {
    expect(await twill('--version')).toEqual({ code: 0, out: 'from source\n', err: '' })
    expect((await twill('map --help')).out).toContain('--etcd-endpoints <string>')
    expect((await twill('map --nope')).code).toBe(exitCode.badFlag)
    expect((await twill('nope')).code).toBe(exitCode.badFlag)
    expect(await twill('map --timeout=soon')).toMatchObject({
      code: exitCode.badFlag,
      err: 'twill: invalid value "soon" for flag -timeout: parse error\n',
    })
    expect(await twill('map --etcd-endpoints=,')).toMatchObject({ code: exitCode.startUp })
  })
})
