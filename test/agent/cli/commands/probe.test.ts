import { expect, it } from 'vitest'
import { twill } from '../../../support/twill.ts'

const byStore = '--local-socket=none --etcd-endpoints=127.0.0.1:9 --timeout=1'

it.each(['probe', 'trace a b'])('twill %s refuses a port that there is not', async command => {
  for (const port of ['-1', '65536', '70000', 'http']) {
    const { code, err } = await twill(`${command} ${byStore} --probe-port=${port}`)
    expect({ code, err }).toEqual({
      code: 2,
      err: `twill: invalid value "${port}" for flag -probe-port: ${port === 'http' ? 'parse error' : 'it must be 0 to 65535'}\n`,
    })
  }
  const { err } = await twill(`${command} ${byStore}`, { FLANNELD_PROBE_PORT: '70000' })
  expect(err).toContain('FLANNELD_PROBE_PORT is passed over')
})

it('twill probe refuses a node beside --all', async () => {
  expect(await twill(`probe --all n2 ${byStore}`)).toEqual({
    code: 2,
    out: '',
    err: 'twill: --all and NODE exclude each other: leave one of them out\n',
  })
})
