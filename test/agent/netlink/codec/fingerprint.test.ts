import { expect, test } from 'vitest'
import { Fingerprint, type MessageForm } from '../../../../agent/netlink/codec/fingerprint.ts'

const form: MessageForm = { header: 4, changing: 1 << 3 }

/** Four bytes, then attributes by type. */
function message(header: number, attributes: Readonly<Record<number, readonly number[]>>): Buffer {
  const parts = Object.entries(attributes).map(([type, bytes]) => {
    const padded = (bytes.length + 3) & ~3
    const attribute = Buffer.alloc(4 + padded)
    attribute.writeUInt16LE(4 + bytes.length, 0)
    attribute.writeUInt16LE(Number(type), 2)
    attribute.set(bytes, 4)
    return attribute
  })
  const fixed = Buffer.alloc(4)
  fixed.writeUInt32LE(header)
  return Buffer.concat([fixed, ...parts])
}

function sum(...messages: readonly Buffer[]): string {
  const fingerprint = new Fingerprint()
  for (const one of messages) fingerprint.add(form, one, 0, one.length)
  return fingerprint.text
}

const one = message(7, { 1: [10, 1, 2, 0], 2: [2, 0, 0, 0, 0, 1], 3: [9, 9, 9, 9] })

test('the same messages have the same fingerprint, whatever their age says', () => {
  expect(sum(one, one)).toBe(sum(one, message(7, { 1: [10, 1, 2, 0], 2: [2, 0, 0, 0, 0, 1], 3: [8] })))
})

test.each([
  ['the fixed part', [message(8, { 1: [10, 1, 2, 0], 2: [2, 0, 0, 0, 0, 1] })]],
  ['a value', [message(7, { 1: [10, 1, 3, 0], 2: [2, 0, 0, 0, 0, 1] })]],
  [
    'the last byte of a value that is no multiple of four',
    [message(7, { 1: [10, 1, 2, 0], 2: [2, 0, 0, 0, 0, 2] })],
  ],
  ['the type of an attribute', [message(7, { 1: [10, 1, 2, 0], 4: [2, 0, 0, 0, 0, 1] })]],
  ['an attribute more', [message(7, { 1: [10, 1, 2, 0], 2: [2, 0, 0, 0, 0, 1], 5: [] })]],
  [
    'an attribute whose type is 32 above one that changes by itself',
    [message(7, { 1: [10, 1, 2, 0], 2: [2, 0, 0, 0, 0, 1], 35: [1] })],
  ],
  ['a message more', [one, one]],
  ['no message', []],
] as const)('%s makes another fingerprint', (_, messages) => {
  expect(sum(...messages)).not.toBe(sum(one))
})

test('messages in another order, and top bits that change in two of them, make another fingerprint', () => {
  const [a, b] = [message(7, { 1: [1, 0, 0, 0] }), message(7, { 1: [2, 0, 0, 0] })]
  expect(sum(a, b)).not.toBe(sum(b, a))
  const [topA, topB] = [message(7, { 1: [1, 0, 0, 0x80] }), message(7, { 1: [2, 0, 0, 0x80] })]
  expect(sum(topA, topB)).not.toBe(sum(a, b))
})

test('what comes and goes by itself does not count', () => {
  const fingerprint = new Fingerprint()
  fingerprint.add({ ...form, isLasting: () => false }, one, 0, one.length)
  expect(fingerprint.text).toBe(sum())
})

test('a message has the same fingerprint wherever it lies', () => {
  const memory = Buffer.concat([Buffer.alloc(5), one])
  const fingerprint = new Fingerprint()
  fingerprint.add(form, memory.subarray(5), 0, one.length)
  expect(fingerprint.text).toBe(sum(one))
})

test('padding does not count', () => {
  const padded = Buffer.from(one)
  padded[padded.indexOf(Buffer.from([2, 0, 0, 0, 0, 1])) + 6] = 99
  expect(sum(padded)).toBe(sum(one))
})

test.each([
  ['a fixed part that is cut off', Buffer.from([1, 0])],
  ['an attribute that is longer than the message', Buffer.from([1, 0, 0, 0, 200, 0, 1, 0])],
])('%s is refused', (_, bytes) => {
  expect(() => sum(bytes)).toThrow('Cannot read a netlink')
})
