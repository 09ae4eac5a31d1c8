import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exitCode } from '../../../../agent/exit_code.ts'
import { type EtcdServer, startEtcd } from '../../../support/etcd.ts'
import { twill } from '../../../support/twill.ts'

const key = '/coreos.com/network/subnets/10.244.5.0-24'

describe('twill reserve and release on a real etcd', () => {
  let etcd: EtcdServer
  let store: string

  beforeAll(async () => {
    etcd = await startEtcd()
    store = `--timeout=60 --etcd-endpoints=${etcd.endpoint}`
    await etcd.ctl('put', '/coreos.com/network/config', '{"Network":"10.244.0.0/16"}')
  })
  afterAll(() => etcd.remove())

  it('sets a subnet aside without an etcd lease, says so when asked again, and drops it', async () => {
    const reserve = `reserve ${store} --subnet=10.244.5.0/24 --public-ip=192.168.0.5`
    expect(await twill(reserve)).toEqual({
      code: exitCode.stopped,
      out: '10.244.5.0/24 is reserved for 192.168.0.5\n',
      err: '',
    })
    const { kvs } = JSON.parse(await etcd.ctl('get', key, '-w', 'json')) as {
      kvs: [{ lease?: number; value: string }]
    }
    expect(kvs[0].lease).toBeUndefined()
    expect(atob(kvs[0].value)).toBe('{"PublicIP":"192.168.0.5","PublicIPv6":null}')
    expect((await twill(reserve)).out).toBe('10.244.5.0/24 was reserved already for 192.168.0.5\n')

    expect((await twill(`release ${store} --subnet=10.244.5.0/24`)).out).toBe('10.244.5.0/24 is free\n')
    expect(await etcd.ctl('get', key)).toBe('')
  })

  it('refuses what another node holds, what is no subnet of the network, and what is not reserved', async () => {
    await etcd.ctl('put', key, '{"PublicIP":"192.168.0.9","PublicIPv6":null,"BackendType":"vxlan"}')
    const taken = await twill(`reserve ${store} --subnet=10.244.5.0/24 --public-ip=192.168.0.5`)
    expect(taken).toMatchObject({
      code: exitCode.startUp,
      err: expect.stringContaining('192.168.0.9 holds it'),
    })
    const outside = await twill(`reserve ${store} --subnet=10.9.0.0/24 --public-ip=192.168.0.5`)
    expect(outside).toMatchObject({
      code: exitCode.startUp,
      err: expect.stringContaining('is no subnet of the network config'),
    })
    const free = await twill(`release ${store} --subnet=10.244.77.0/24`)
    expect(free).toMatchObject({
      code: exitCode.startUp,
      err: expect.stringContaining('10.244.77.0/24 is not reserved'),
    })
  })

  it('takes one public IP of the family of each subnet, and writes nothing otherwise', async () => {
    const refused = async (flags: string) => {
      const { code, err } = await twill(`reserve ${store} ${flags}`)
      return [code, err]
    }
    expect(await refused('--subnet=10.244.6.0/24 --public-ip=fd00::5')).toEqual([
      exitCode.badFlag,
      'twill: --public-ip: 0 ipv4 addresses are given for 1 ipv4 subnets, one each is needed\n',
    ])
    expect(await refused('--subnet=10.244.6.0/24 --public-ip=192.168.0.5 --public-ip=192.168.0.6')).toEqual([
      exitCode.badFlag,
      'twill: --public-ip: 2 ipv4 addresses are given for 1 ipv4 subnets, one each is needed\n',
    ])
    expect(await refused('--subnet=10.244.6.0/24 --subnet=10.244.7.0/24 --public-ip=192.168.0.5')).toEqual([
      exitCode.badFlag,
      'twill: --subnet: 10.244.6.0/24 and 10.244.7.0/24 are of one family, a node has one of each\n',
    ])
    expect(await etcd.ctl('get', '/coreos.com/network/subnets/10.244.6.0-24')).toBe('')
  })

  it('names a flag that is missing or no address', async () => {
    expect(await twill(`reserve ${store} --public-ip=192.168.0.5`)).toMatchObject({
      code: exitCode.badFlag,
      err: 'twill: --subnet is missing\n',
    })
    const bad = await twill(`reserve ${store} --subnet=10.244.5.0/40 --public-ip=192.168.0.5`)
    expect(bad.err).toBe("twill: --subnet: Cannot parse prefix '10.244.5.0/40': length must be 0-32\n")
    for (const line of ['release --subnet=abc', 'reserve --subnet=10.244.5.0/24 --public-ip=abc'])
      expect(await twill(line)).toMatchObject({
        code: exitCode.badFlag,
        err: expect.stringMatching(/^twill: --(subnet|public-ip): Cannot parse .*'abc'/),
      })
  })
})
