import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { MessageWriter } from '../../../agent/netlink/codec/message.ts'
import { NetlinkRequests } from '../../../agent/netlink/requests.ts'
import { acknowledgement, done, FakeRawSockets, message, type Sent } from '../../support/fake_raw_socket.ts'

const EXIST = 17
const NOBUFS = 105
const DUMP_INTR = 0x10
const ACK = 0x4
const signal = new AbortController().signal
const write = (writer: MessageWriter) => {
  writer.begin(99, 0)
  writer.u32(0)
}
const read = (buffer: Buffer, start: number) => buffer.readUInt32LE(start)
const number = (seq: number, value: number, flags = 0x2) => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32LE(value)
  return message(98, flags, seq, payload)
}
const seqOf = (sent: readonly Sent[]) => sent[0]?.seq ?? 0

describe('netlink requests', () => {
  let sockets: FakeRawSockets
  let requests: NetlinkRequests
  beforeEach(() => {
    sockets = new FakeRawSockets()
    requests = new NetlinkRequests(sockets.open)
  })
  afterEach(() => {
    vi.useRealTimers()
    requests.close()
  })

  test('gather a dump over several datagrams', async () => {
    sockets.answer = sent => [
      Buffer.concat([number(seqOf(sent), 1), number(seqOf(sent), 2)]),
      Buffer.concat([number(seqOf(sent), 3), done(seqOf(sent))]),
    ]
    expect(await requests.dump('Cannot list', write, read, signal)).toEqual([1, 2, 3])
  })

  test('ask for a dump again that the kernel calls inconsistent', async () => {
    sockets.answer = sent =>
      sockets.sent.length === 1
        ? [number(seqOf(sent), 1), number(seqOf(sent), 2, 0x2 | DUMP_INTR), done(seqOf(sent))]
        : [number(seqOf(sent), 5), done(seqOf(sent))]
    expect(await requests.dump('Cannot list', write, read, signal)).toEqual([5])
  })

  test('give up a dump that never becomes consistent', async () => {
    sockets.answer = sent => [done(seqOf(sent), 0, DUMP_INTR)]
    await expect(requests.dump('Cannot list', write, read, signal)).rejects.toThrow(
      'Cannot list: the table changed while it was read (EINTR)',
    )
    expect(sockets.sent.length).toBe(10)
  })

  test('honour the error at the end of a dump', async () => {
    sockets.answer = sent => [number(seqOf(sent), 1), done(seqOf(sent), 2)]
    await expect(requests.dump('Cannot list', write, read, signal)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('refuse with the words of the kernel, or else with those of the number', async () => {
    sockets.answer = sent => [acknowledgement(seqOf(sent), EXIST, 'A device is there')]
    await expect(requests.request('Cannot make it', write, read, signal)).rejects.toMatchObject({
      message: 'Cannot make it: A device is there (EEXIST)',
      code: 'EEXIST',
      errno: 17,
      extack: 'A device is there',
    })
    sockets.answer = sent => [acknowledgement(seqOf(sent), EXIST)]
    await expect(requests.request('Cannot make it', write, read, signal)).rejects.toThrow(
      'Cannot make it: file already exists (EEXIST)',
    )
  })

  test('go out one at a time', async () => {
    const both = Promise.all([
      requests.dump('Cannot list', write, read, signal),
      requests.dump('Cannot list', write, read, signal),
    ])
    await new Promise(resolve => setImmediate(resolve))
    expect(sockets.sent.length).toBe(1)
    sockets.answer = sent => [number(seqOf(sent), 2), done(seqOf(sent))]
    sockets.deliver(
      Buffer.concat([number(seqOf(sockets.sent[0] ?? []), 1), done(seqOf(sockets.sent[0] ?? []))]),
    )
    expect(await both).toEqual([[1], [2]])
  })

  test('go out a hundred in a datagram, acknowledged by the last, and are told apart by number', async () => {
    sockets.answer = sent => [
      ...sent
        .filter(({ seq }) => seq % 70 === 0)
        .map(({ seq }) => acknowledgement(seq, EXIST, `number ${seq}`)),
      ...(seqOf(sent.slice(-1)) % 70 === 0 ? [] : [acknowledgement(seqOf(sent.slice(-1)))]),
    ]
    const refusals = await requests.batch(210, write, signal)
    expect(sockets.sent.map(sent => sent.length)).toEqual([100, 100, 10])
    for (const sent of sockets.sent)
      expect(sent.map(({ flags }) => (flags & ACK) !== 0)).toEqual(sent.map((_, i) => i === sent.length - 1))
    expect(Array.from(refusals, ([place, error]) => [place, error.extack])).toEqual([
      [69, 'number 70'],
      [139, 'number 140'],
      [209, 'number 210'],
    ])
  })

  test('let others run once they have taken long', async () => {
    let nowMs = 0
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
    let ran = 0
    setImmediate(() => ran++)
    const ranBefore: number[] = []
    sockets.answer = sent => {
      ranBefore.push(ran)
      nowMs += 60
      return [acknowledgement(seqOf(sent.slice(-1)))]
    }
    await requests.batch(400, write, signal)
    expect(ranBefore).toEqual([0, 0, 1, 1])
    vi.restoreAllMocks()
  })

  test('send a second time, once, what the kernel had no room for', async () => {
    let full = 2
    sockets.answer = sent => {
      const [first, last] = [sent[0], sent.at(-1)]
      const refused = full-- > 0 && first !== undefined ? [acknowledgement(first.seq, NOBUFS)] : []
      return first === last && refused.length > 0 ? refused : [...refused, acknowledgement(last?.seq ?? 0)]
    }
    const refusals = await requests.batch(3, write, signal)
    expect(sockets.sent.map(sent => sent.length)).toEqual([3, 1])
    expect(Array.from(refusals, ([place, { code }]) => [place, code])).toEqual([[0, 'ENOBUFS']])
    full = 1
    expect((await requests.batch(3, write, signal)).size).toBe(0)
  })

  test('end where no answer comes, and the next one has a socket of its own', async () => {
    vi.useFakeTimers()
    const lost = expect(requests.request('Cannot ask', write, read, signal)).rejects.toThrow(
      'Cannot ask: the kernel did not answer within 10000 ms',
    )
    await vi.advanceTimersByTimeAsync(10_001)
    await lost
    expect(sockets).toMatchObject({ opened: 1, closed: 1 })
    sockets.answer = sent => [
      number(seqOf(sockets.sent[0] ?? []), 6), // too late
      number(seqOf(sent), 7),
      acknowledgement(seqOf(sent)),
    ]
    expect(await requests.request('Cannot ask', write, read, signal)).toEqual([7])
    expect(sockets.opened).toBe(2)
  })

  test('end with the failure of the socket, and on closing', async () => {
    const asked = expect(requests.request('Cannot ask', write, read, signal)).rejects.toThrow('no memory')
    await new Promise(resolve => setImmediate(resolve))
    sockets.fail(new Error('no memory'))
    await asked

    const pending = expect(requests.request('Cannot ask', write, read, signal)).rejects.toThrow('was closed')
    await new Promise(resolve => setImmediate(resolve))
    requests.close()
    await pending
    await expect(requests.request('Cannot ask', write, read, signal)).rejects.toThrow('was closed')
  })

  test('reject with the reason of the signal before they go out', async () => {
    const reason = new Error('enough')
    await expect(requests.batch(3, write, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(sockets.sent).toEqual([])
  })

  test('fail on an answer that cannot be read, and only then', async () => {
    sockets.answer = sent => [number(seqOf(sent), 1).subarray(0, 18)]
    const failing = requests.dump('Cannot list', write, read, signal)
    await expect(failing).rejects.toThrow('Cannot read a netlink message: length 20 of 18 bytes')
  })
})
