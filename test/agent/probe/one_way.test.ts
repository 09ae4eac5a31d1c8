import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { decodeEcho, type Echo, encodeEcho } from '../../../agent/probe/echo.ts'
import { deadWays, oneWay } from '../../../agent/probe/one_way.ts'
import { parseIp } from '../../../lease/net/ip.ts'
import { until } from '../../support/until.ts'

const [from, to] = [parseIp('127.0.0.71'), parseIp('127.0.0.72')]
const { signal } = new AbortController()
let peer: Socket | undefined
afterEach(() => {
  peer?.close()
  peer = undefined
})

/** A peer's agent that answers each datagram by these. Returns its port. */
async function answering(answers: (echo: Echo) => readonly Echo[]): Promise<number> {
  const socket = createSocket('udp4')
  peer = socket
  socket.on('message', (message, { address, port }) => {
    const echo = decodeEcho(message)
    if (echo === undefined) return
    for (const answer of answers(echo)) socket.send(encodeEcho(answer, echo.answerSize), port, address)
  })
  socket.bind({ address: to })
  await once(socket, 'listening')
  return socket.address().port
}

describe('loss in one direction', () => {
  it.each<[string, (echo: Echo) => readonly Echo[]]>([
    ['claims to have received more than was sent', echo => [{ ...echo, received: 65_535 }]],
    ['claims to have received less than it answers', echo => [{ ...echo, received: 1 }]],
    [
      'answers what it was never asked',
      echo => Array.from({ length: 70 }, (_, number) => ({ ...echo, number, received: 20 })).concat(echo),
    ],
  ])('is between 0 and 1 where the peer %s', async (_, answers) => {
    const ways = await oneWay({ to, from, port: await answering(answers), overlayMtu: 1450 }, signal)
    for (const loss of [ways?.lossThere, ways?.lossBack]) {
      expect(loss).toBeGreaterThanOrEqual(0)
      expect(loss).toBeLessThanOrEqual(1)
    }
  })
})

it('keeps no descriptor of a probe from an address that this host has not', async () => {
  const missing = parseIp('203.0.113.9')
  const descriptors = () => readdirSync('/proc/self/fd').length
  const before = descriptors()
  const target = {
    node: 'n2',
    device: 'flannel.1',
    publicIp: to,
    underlayMtu: 1500,
    overlayMtu: 1450,
    relays: [],
  }
  for (let i = 0; i < 20; i++) {
    await expect(oneWay({ to, from: missing, port: 9, overlayMtu: 1450 }, signal)).rejects.toThrow(/EADDRNOT/)
    expect(await deadWays({ ...target, overlayIp: to, from: missing, port: 9 }, signal)).toBeUndefined()
  }
  await until('the sockets to be closed', async () => descriptors() < before + 20)
})
