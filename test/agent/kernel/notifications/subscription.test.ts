import { expect, it } from 'vitest'
import { Subscription } from '../../../../agent/kernel/notifications/subscription.ts'
import { NetlinkRequests } from '../../../../agent/netlink/requests.ts'
import { done, FakeRawSockets, message, type Sent } from '../../../support/fake_raw_socket.ts'
import { until } from '../../../support/until.ts'

/** linux/rtnetlink.h: #define RTM_GETLINK 18 */
const RTM_GETLINK = 18

it('reads the state again where more notifications arrived during the reading than it holds back', async () => {
  const [notifications, kernel, stop] = [new FakeRawSockets(), new FakeRawSockets(), new AbortController()]
  const requests = new NetlinkRequests(kernel.open)
  const scope = { devices: ['flannel.1'], routeProtocol: 117 }
  const subscription = new Subscription({ open: notifications.open, requests, scope }, stop.signal)
  const change = subscription[Symbol.asyncIterator]().next()
  await until('the first question', () => kernel.sent.length === 1)
  const unimportant = message(0, 0, 0)
  for (let i = 0; i <= 20_000; i++) notifications.deliver(unimportant)
  const answer = (messages: readonly Sent[]) => messages.map(({ seq }) => done(seq))
  kernel.answer = answer
  for (const each of answer(kernel.sent[0] ?? [])) kernel.deliver(each)
  expect((await change).value?.everything).toBe('the notification socket overflowed')
  expect(kernel.sent.flat().filter(({ type }) => type === RTM_GETLINK)).toHaveLength(2)
  stop.abort(new Error('the test is over'))
  requests.close()
})
