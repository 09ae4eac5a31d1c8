import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { serveLocalApi } from '../../../../agent/status/http/local_api.ts'
import { RecordingLog } from '../../../support/log.ts'
import { until } from '../../../support/until.ts'

let folder = ''
let path = ''
let log: RecordingLog
let stop: AbortController
let served: Promise<void>

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'twill-local-api-'))
  path = join(folder, 'twilld.sock')
  log = new RecordingLog()
  stop = new AbortController()
  const documents = { status: async (query: URLSearchParams) => ({ asked: [...query] }) }
  served = serveLocalApi(path, { documents, acts: {} }, log, stop.signal)
  await until('it to be served', () => log.said('serving the local API').length > 0)
})
afterEach(async () => {
  stop.abort()
  await served
  rmSync(folder, { recursive: true, force: true })
})

/** To a request for that target, whatever a URL may be. */
async function answerTo(target: string): Promise<string> {
  const socket = connect(path)
  socket.write(`GET ${target} HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n`)
  let text = ''
  socket.on('data', data => {
    text += data
  })
  await once(socket, 'close')
  return text
}

it.each(['//', '//:99999', 'http://[', '/__proto__', '/constructor', '*', '/%', `/${'a'.repeat(7_000)}`])(
  'the local API has nothing at %s, and continues',
  async target => {
    expect(await answerTo(target)).toMatch(/^HTTP\/1.1 404 [\s\S]*there are status by GET/)
    expect(await answerTo('/status?of=%FF&of=%')).toContain('{"asked":[["of","\ufffd"],["of","%"]]}')
    expect(log.lines.filter(({ level }) => level === 'error')).toEqual([])
  },
)

it('is served again where its directory was removed', async () => {
  // In one step: a socket that is made again meanwhile would keep the directory from being removed.
  renameSync(folder, `${folder}.gone`)
  rmSync(`${folder}.gone`, { recursive: true })
  await until('it to listen again', async () => /^HTTP/.test(await answerTo('/status').catch(() => '')))
  expect(log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
    'the socket of the local API was removed: it is made again',
  ])
})

it('is left to another process that serves it, and taken over when that ends', async () => {
  const later = new AbortController()
  const second = serveLocalApi(path, { documents: {}, acts: {} }, log, later.signal)
  await until('the refusal', () => log.said('another process listens there').length > 0)
  stop.abort()
  await served
  await until('the second to serve', async () => /404/.test(await answerTo('/status').catch(() => '')))
  expect(log.said('another process listens there')).toHaveLength(1)
  later.abort()
  await second
})
