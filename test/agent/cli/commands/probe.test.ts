import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

it('twill probe escapes the names of peers, and what the agent says of them', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'twill-probe-'))
  const agent = createServer(({ url }, answer) => {
    if (url === '/probe?peer=b') answer.statusCode = 400
    answer.end(
      JSON.stringify(
        url === '/peers'
          ? ['a', 'b', 'c\u001b[2J']
          : url === '/probe?peer=b'
            ? { error: 'no\nroot: all is well' }
            : null,
      ),
    )
  })
  agent.listen(join(directory, 'socket'))
  await once(agent, 'listening')
  const { err } = await twill(`probe --local-socket=${join(directory, 'socket')}`)
  agent.close()
  rmSync(directory, { recursive: true })
  expect(err).toContain('twill: b was not probed: no\\u000aroot: all is well\n')
  expect(err).toContain('twill: c\\u001b[2J was not probed')
  expect(err.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
})
