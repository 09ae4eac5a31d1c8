import { expect, test } from 'vitest'
import { withoutLogins } from '../../../lease/common/url_logins.ts'

test.each([
  ['etcd at https://root:secret@10.0.0.1:2379: refused', 'etcd at https://***@10.0.0.1:2379: refused'],
  ['https://root:se@cr/et@etcd:2379', 'https://***@etcd:2379'],
  ['http://a:b@c:1,http://d:e@f:2', 'http://***@c:1,http://***@f:2'],
  ['{"url":"https://root:s@h","by":"ops@example.com"}', '{"url":"https://***@h","by":"ops@example.com"}'],
  ['https://10.0.0.1:2379 asked ops@example.com', 'https://10.0.0.1:2379 asked ops@example.com'],
])('leaves no user and no password of a URL: %s', (text, shown) => {
  expect(withoutLogins(text, '***@')).toBe(shown)
})
