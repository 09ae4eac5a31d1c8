import { expect, test } from 'vitest'
import { etcdError } from '../../../../lease/etcd/client/error.ts'
import { keysUnder } from '../../../../lease/etcd/client/keys.ts'

test('a trouble is said in the words that an operator can act on', () => {
  const say = (message: string) => etcdError(new Error(message), 'http://a:1').message
  expect(
    say(
      '14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ',
    ),
  ).toBe('etcd at http://a:1: connect ECONNREFUSED 127.0.0.1:1')
  expect(
    say('GRPCDeadlineExceededError: 4 DEADLINE_EXCEEDED: Deadline exceeded after 2.000s,LB pick: 0.001s'),
  ).toBe('etcd at http://a:1: no answer in time')
  const tls = (alert: string) =>
    say(
      `14 UNAVAILABLE: No connection established. Last error: Error: 806C096F1F7F0000:error:0A000412:SSL routines:ssl3_read_bytes:${alert}:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:1601:SSL alert number 42`,
    )
  expect(tls('sslv3 alert bad certificate')).toBe(
    'etcd at http://a:1: it asks for a client certificate, or refuses ours (give --etcd-certfile and --etcd-keyfile, signed by a CA that it knows and not expired, or --join where an agent runs it)',
  )
  expect(tls('tlsv13 alert certificate required')).toBe(tls('sslv3 alert bad certificate'))
  expect(
    say(
      '14 UNAVAILABLE: x509: certificate has expired: current time 2026-11-25T04:50:42Z is after 2026-11-24T04:50:42Z',
    ),
  ).toBe(
    say(
      '14 UNAVAILABLE: x509: certificate has expired: current time 2026-11-25T04:51:13.5Z is after 2026-11-24T04:50:42Z',
    ),
  )
  expect(say('8 RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded')).toBe(
    'etcd at http://a:1: mvcc: database space exceeded (compact and defragment it, then `etcdctl alarm disarm`)',
  )
})

test('the range of a prefix ends where the next prefix begins', () => {
  expect(keysUnder('/coreos.com/network/subnets/')).toEqual({
    from: '/coreos.com/network/subnets/',
    to: '/coreos.com/network/subnets0',
  })
})
