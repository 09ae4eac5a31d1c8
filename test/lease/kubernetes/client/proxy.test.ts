import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ApiConfigError } from '../../../../lease/kubernetes/client/kubeconfig.ts'
import { proxyFor } from '../../../../lease/kubernetes/client/proxy.ts'
import { printLease } from '../../../../lease/lease.ts'
import { FakeCluster } from '../../../support/api_server_cluster.ts'
import { openStore, requestFor, Watching } from '../../../support/api_server_store.ts'
import { ConnectProxy } from '../../../support/connect_proxy.ts'
import { until } from '../../../support/until.ts'

describe('the proxy to the API server', () => {
  const https = { HTTPS_PROXY: 'http://u:s3cret@192.0.2.1:3128', HTTP_PROXY: 'http://192.0.2.2' }

  it.each<[string, string, unknown, Record<string, string>, string | undefined]>([
    ['none', 'https://10.0.0.1', undefined, {}, undefined],
    ['HTTPS_PROXY for https', 'https://10.0.0.1', undefined, https, 'http://192.0.2.1:3128, of HTTPS_PROXY'],
    ['HTTP_PROXY for http', 'http://10.0.0.1', undefined, https, 'http://192.0.2.2, of HTTP_PROXY'],
    [
      'in small letters',
      'https://10.0.0.1',
      undefined,
      { https_proxy: 'p:3128' },
      'http://p:3128, of https_proxy',
    ],
    [
      'in capitals before small letters',
      'https://h',
      undefined,
      { https_proxy: 'a:1', HTTPS_PROXY: 'b:2' },
      'http://b:2, of HTTPS_PROXY',
    ],
    [
      'without a scheme',
      'https://10.0.0.1',
      undefined,
      { HTTPS_PROXY: '192.0.2.1:3128' },
      'http://192.0.2.1:3128, of HTTPS_PROXY',
    ],
    [
      'SOCKS',
      'https://10.0.0.1',
      undefined,
      { HTTPS_PROXY: 'socks5://p:1080' },
      'socks5://p:1080, of HTTPS_PROXY',
    ],
    ['none to the loopback', 'https://127.0.0.1:6443', undefined, https, undefined],
    ['none to the loopback in IPv6', 'https://[::1]:6443', undefined, https, undefined],
    ['none to localhost', 'https://localhost:6443', undefined, https, undefined],
    [
      "the kubeconfig's, whatever NO_PROXY says",
      'https://127.0.0.1',
      'http://p:1',
      { NO_PROXY: '*' },
      'http://p:1, of the kubeconfig (proxy-url)',
    ],
    ['none where the variable is empty', 'https://10.0.0.1', undefined, { HTTPS_PROXY: '' }, undefined],
  ])('is %s', (_, server, proxyUrl, env, words) => {
    expect(proxyFor(new URL(server), proxyUrl, env)?.words).toBe(words)
  })

  it.each([
    ['*', 'https://10.0.0.1', true],
    ['10.0.0.1', 'https://10.0.0.1:6443', true],
    ['10.0.0.2, 10.0.0.1', 'https://10.0.0.1:6443', true],
    ['10.0.0.1:6443', 'https://10.0.0.1:6443', true],
    ['10.0.0.1:443', 'https://10.0.0.1:6443', false],
    ['10.0.0.1:443', 'https://10.0.0.1', true],
    ['10.0.0.0/8', 'https://10.0.0.1:6443', true],
    ['10.1.2.3/8', 'https://10.0.0.1:6443', true],
    ['10.0.0.0/33', 'https://10.0.0.1:6443', false],
    ['10.0.0.0/', 'https://10.0.0.1:6443', false],
    ['192.168.0.0/16', 'https://10.0.0.1:6443', false],
    ['fd00::/8', 'https://[fd00::1]:6443', true],
    ['fd00:0:0::1', 'https://[fd00::1]:6443', true],
    ['[fd00::1]:6443', 'https://[fd00::1]:6443', true],
    ['[fd00::1]:443', 'https://[fd00::1]:6443', false],
    ['example.com', 'https://example.com', true],
    ['example.com', 'https://api.example.com', true],
    ['example.com', 'https://badexample.com', false],
    ['EXAMPLE.com', 'https://API.example.com', true],
    ['.example.com', 'https://api.example.com', true],
    ['.example.com', 'https://example.com', false],
    ['*.example.com', 'https://api.example.com', true],
    ['*.example.com', 'https://example.com', false],
    ['example.com:6443', 'https://api.example.com:6443', true],
    ['example.com:6443', 'https://api.example.com', false],
    ['.svc,.cluster.local', 'https://kubernetes.default.svc', true],
    ['.cluster.local', 'https://kubernetes.default.svc.cluster.local.', true],
    [',, ', 'https://10.0.0.1', false],
  ])('is exempted by NO_PROXY=%s for %s: %o', (list, server, exempt) => {
    for (const NO_PROXY of ['NO_PROXY', 'no_proxy'])
      expect(proxyFor(new URL(server), undefined, { ...https, [NO_PROXY]: list }) === undefined).toBe(exempt)
  })

  it.each(['ftp://u:s3cret@h', 'http://', '://s3cret'])(
    'is refused where it is %s, without a secret',
    text => {
      const choose = () => proxyFor(new URL('https://h'), undefined, { HTTPS_PROXY: text })
      expect(choose).toThrow(ApiConfigError)
      expect(choose).toThrow(/^((?!s3cret).)*$/)
    },
  )
})

describe('a proxy', () => {
  let cluster: FakeCluster
  let proxy: ConnectProxy

  beforeEach(async () => {
    cluster = await FakeCluster.open()
    await cluster.createNode({ name: 'n1', podCidrs: ['10.244.1.0/24'] })
    proxy = await ConnectProxy.open()
  })

  afterEach(async () => {
    proxy.close()
    await cluster.close()
  })

  function open() {
    const kubeconfigFile = join(cluster.folder, 'proxied')
    cluster.server.writeKubeconfig(kubeconfigFile, '{}', `, proxy-url: "${proxy.url}"`)
    return openStore(cluster.options('n1', { kubeconfigFile }))
  }

  it('carries lease and watch on few connections, and is named once without its password', async () => {
    const one = open()
    const lease = await one.store.acquire(
      requestFor(await one.store.networkConfig(one.signal), ['192.168.0.1']),
      one.signal,
    )
    expect(printLease(lease)).toBe('10.244.1.0/24 at 192.168.0.1')
    const watching = new Watching(one.store.watch(one.signal))
    await watching.lines_are(['n1 vxlan 10.244.1.0/24 at 192.168.0.1'])
    await one.store.announceReady(one.signal)
    expect(new Set(proxy.asked)).toEqual(
      new Set([`${cluster.server.url.slice(8)} Basic ${Buffer.from('u:s3cret').toString('base64')}`]),
    )
    expect(proxy.asked.length).toBeLessThanOrEqual(3)
    expect(one.log.traced).toContain('asked the API server: GET /api/v1/nodes/n1 {"status":200}')
    expect(one.log.lines[0]).toMatch(
      /^info: Asking the Kubernetes API at https:\S+ through the proxy http:\/\/127\.0\.0\.1:\d+, of the kubeconfig/,
    )
    expect(one.log.lines.join()).not.toContain('s3cret')
    await one.close()
    await watching.ended()
  })

  it('that refuses is named where the API server cannot be asked', async () => {
    proxy.answer = 407
    const one = open()
    const watching = new Watching(one.store.watch(one.signal))
    await until('the trouble', () => /through the proxy http:.*407/.test(one.store.health().trouble ?? ''), {
      otherwise: () => `${one.store.health().trouble}`,
    })
    await one.close()
    await watching.ended()
  })
})
