import { expect, test } from 'vitest'
import { parseUrl, withoutLogin, withoutLogins } from '../../../lease/common/url_logins.ts'

test.each([
  ['etcd at https://root:secret@10.0.0.1:2379: refused', 'etcd at https://***@10.0.0.1:2379: refused'],
  ['https://root:se@cr/et@etcd:2379', 'https://***@etcd:2379'],
  ["cannot use 'https://root:s'ecret@etcd:2379' as URL", "cannot use 'https://***@etcd:2379' as URL"],
  ['http://a:b@c:1,http://d:e@f:2', 'http://***@c:1,http://***@f:2'],
  ["etcd at 'root:secret@10.0.0.1:2379'", "etcd at '***@10.0.0.1:2379'"],
  ['proxy=u:se/c@ret@h:3128, of HTTPS_PROXY', 'proxy=***@h:3128, of HTTPS_PROXY'],
  ['{"url":"https://root:s@h","by":"ops@example.com"}', '{"url":"https://***@h","by":"ops@example.com"}'],
  ['https://10.0.0.1:2379 asked ops@example.com', 'https://10.0.0.1:2379 asked ops@example.com'],
  ['3: eth0.5@eth0: mtu 1500', '3: eth0.5@eth0: mtu 1500'],
  ['a:root{color:red}@media', 'a:root{color:red}@media'],
])('leaves no user and no password of a URL: %s', (text, shown) => {
  expect(withoutLogins(text, '***@')).toBe(shown)
})

test.each([
  ['root:s3cret@10.0.0.1:2379', '***@10.0.0.1:2379'],
  ['s3cret@10.0.0.1', '***@10.0.0.1'],
  ['http://a:s3,c r"e/t@c:1,https://d:s3cret@f:2', 'http://***@c:1,https://***@f:2'],
  ['10.0.0.1:2379,10.0.0.2:2379', '10.0.0.1:2379,10.0.0.2:2379'],
])('knows the login of a setting that is a URL, with a scheme or without: %s', (text, shown) => {
  expect(withoutLogin(text, '***@')).toBe(shown)
})

test('takes no URL whose password would count as its host or path', () => {
  expect(parseUrl('http://u:p%2Fw@h:1')?.host).toBe('h:1')
  expect(['http://u:1/w@h', 'http://u:1?w@h', 'http://u:1#w@h', 'h'].map(parseUrl)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ])
})
