import { expect, it } from 'vitest'
import { twill } from '../../support/twill.ts'

/** No agent, no store, and no leases that an agent saved. */
const nowhere = '--local-socket=none --cache-file=/none --etcd-endpoints=http://127.0.0.1:9'

it.each(['status', 'doctor', 'trace 10.244.1.7 10.244.2.9', 'probe', 'probe worker-2', 'diff'])(
  'twill %s could not tell: code 2, as 1 is for what it found',
  async line => {
    expect(await twill(`${line} ${nowhere}`)).toEqual({
      code: 2,
      out: '',
      err: expect.stringContaining('ECONNREFUSED'),
    })
  },
)

it('twill diff --fix could not tell without an agent', async () => {
  expect(await twill('diff --fix --local-socket=none')).toMatchObject({
    code: 2,
    err: expect.stringContaining('No agent answers'),
  })
})

it('twill map has no findings: its code says that the store did not answer', async () => {
  expect((await twill(`map ${nowhere}`)).code).toBe(4)
})
