import { describe, expect, it } from 'vitest'
import { serviceConfig } from '../../../../agent/cli/install/service_config.ts'
import { tokenFile } from '../../../support/token_file.ts'

const { token, file: tokenPath } = tokenFile()

describe('twill install knows where the leases are', () => {
  const kindOf = async (words: string, env = {}) => {
    const judged = words.split(' ').filter(word => word !== '')
    const { store } = await serviceConfig({ judged }, { NODE_NAME: 'n1', ...env })
    return store.kind
  }

  it.each([
    ['--embedded-etcd', 'etcd'],
    [`--join=${token}`, 'etcd'],
    [`--join=${tokenPath}`, 'etcd'],
    ['--etcd-endpoints=192.0.2.1', 'etcd'],
    ['--kube-subnet-mgr', 'kubernetes'],
    ['--kube-subnet-mgr=true', 'kubernetes'],
  ])('by %s', async (words, kind) => {
    expect(await kindOf(words)).toBe(kind)
  })

  it.each([
    ['FLANNELD_EMBEDDED_ETCD', 'true', 'etcd'],
    ['FLANNELD_JOIN', tokenPath, 'etcd'],
    ['FLANNELD_ETCD_ENDPOINTS', '192.0.2.1', 'etcd'],
    ['FLANNELD_KUBE_SUBNET_MGR', '1', 'kubernetes'],
  ])("by the service's variable %s", async (name, value, kind) => {
    expect(await kindOf('--iface=eth0', { [name]: value })).toBe(kind)
  })

  it.each([
    '--embedded-etcd-dir=/data',
    '--embedded-etcd-plain=true',
    '--embedded-etcd=false',
    '--kube-subnet-mgr=false',
    '--etcd-prefix=/x',
    '--kube-api-url=https://192.0.2.1',
    '--iface=eth0',
  ])('not by %s', async words => {
    await expect(kindOf(words)).rejects.toThrow('Say where the leases are')
  })

  it('not by a variable that the command line overrides, or that is off', async () => {
    const env = { FLANNELD_KUBE_SUBNET_MGR: 'true' }
    await expect(kindOf('--kube-subnet-mgr=false', env)).rejects.toThrow('Say where the leases are')
    await expect(kindOf('', { FLANNELD_EMBEDDED_ETCD: 'false' })).rejects.toThrow('Say where the leases are')
  })
})
