import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { afterEach, beforeEach, test } from 'vitest'
import { answerProbes } from '../../../agent/probe/responder.ts'
import { WakeUp } from '../../../lease/common/wake_up.ts'
import { type Ip, parseIp } from '../../../lease/net/ip.ts'
import { freePort } from '../../support/etcd.ts'
import { RecordingLog } from '../../support/log.ts'
import { until } from '../../support/until.ts'

const [first, second] = [parseIp('127.0.0.71'), parseIp('127.0.0.72')]
let port: number
let stop: AbortController
let running: Promise<unknown>
let own: readonly Ip[]
let addressesChanged: WakeUp
beforeEach(async () => {
  port = await freePort()
  stop = new AbortController()
  addressesChanged = new WakeUp()
})
afterEach(async () => {
  stop.abort()
  await running
})

function start(...addresses: readonly Ip[]): void {
  own = addresses
  const rest = { isPeer: () => true, trace: () => Promise.reject(new Error('none')), log: new RecordingLog() }
  const options = { port, addresses: () => own, addressesChanged, ...rest }
  running = answerProbes(options, stop.signal).catch(() => {})
}

async function isAnswered(host: Ip): Promise<boolean> {
  const socket = connect({ host, port })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

test('probes are answered on the address that this node has, as soon as it has another', async () => {
  start(first)
  await until('the first address to be answered on', () => isAnswered(first))
  own = [second]
  addressesChanged.set()
  await until('the second address to be answered on', () => isAnswered(second))
  await until('the first address to be given up', async () => !(await isAnswered(first)))
})

test('a port that was taken is listened on once it is free', async () => {
  const other = createServer().listen({ host: first, port })
  await once(other, 'listening')
  start(first, second)
  await until('the second address to be answered on', () => isAnswered(second))
  other.close()
  await until('the port to be free', async () => !other.listening)
  await until('the first address to be answered on', () => isAnswered(first))
})
