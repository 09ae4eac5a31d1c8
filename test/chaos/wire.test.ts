import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { expect, it } from 'vitest'
import { until } from '../support/until.ts'
import { Wire } from './wire.ts'

it('a wire keeps the order of what it delays, also when it stops delaying', async () => {
  const server = createServer()
  let received = ''
  server.on('connection', socket => {
    socket.on('error', () => {}) // wires break by a reset
    socket.on('data', piece => {
      received += piece
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const wire = await Wire.open({ host: '127.0.0.1', port: address.port })
  const near = connect(Number(new URL(wire.endpoint).port), '127.0.0.1').setNoDelay()
  await once(near, 'connect')
  let sent = ''
  for (let i = 0; i < 300; i++) {
    wire.set('open', i % 50 < 25 ? 10 + (i % 7) : 0)
    near.write(`${i} `)
    sent += `${i} `
    await new Promise(resolve => setTimeout(resolve, i % 3))
  }
  await until('all to arrive', () => received.length === sent.length)
  expect(received).toBe(sent)
  near.on('error', () => {})
  wire.close()
  server.close()
})
