import { expect, test } from 'vitest'
import { etcdError } from '../../../lease/etcd/error.ts'
import { keysUnder } from '../../../lease/etcd/keys.ts'

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
