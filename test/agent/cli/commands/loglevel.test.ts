import { expect, it } from 'vitest'
import { twill } from '../../../support/twill.ts'

it('twill loglevel refuses an unknown level as a wrong word, before it asks an agent', async () => {
  expect(await twill('loglevel LOUD --local-socket=/none')).toEqual({
    code: 2,
    out: '',
    err: "twill: LEVEL is 'LOUD': it must be trace, debug, info, warn, error\n",
  })
})
