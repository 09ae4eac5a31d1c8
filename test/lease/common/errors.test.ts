import { AssertionError } from 'node:assert'
import { describe, expect, it } from 'vitest'
import { DataError, ExpectedError, isUnexpected, messageOf } from '../../../lease/common/errors.ts'

class LibraryError extends Error {
  override name = 'LibraryError'
}

class DiskFullError extends ExpectedError {
  override name = 'DiskFullError'
}

describe('an error', () => {
  it('is expected only where it says so', () => {
    expect(isUnexpected(new DiskFullError('the disk is full'))).toBe(false)
  })

  it.each([
    ['an error of the language', new TypeError('x is undefined')],
    ['an error of the runtime', Object.assign(new Error('open EACCES'), { code: 'EACCES' })],
    ['an assertion', new AssertionError({ message: 'no' })],
    ['an abort', new DOMException('stopped', 'AbortError')],
    ['what a library throws', new LibraryError('with a name of its own')],
    ['no error at all', 'thrown text'],
  ])('is unexpected if it is %s', (_, thrown) => {
    expect(isUnexpected(thrown)).toBe(true)
  })

  it('is told in words, whatever was thrown', () => {
    expect(messageOf(new DiskFullError('the disk is full'))).toBe('the disk is full')
    expect(messageOf('thrown text')).toBe('thrown text')
    expect(messageOf(undefined)).toBe('undefined')
  })
})

it('an error of foreign data has no stack, and leaves others theirs', () => {
  const { stack, message } = new DataError('no lease', { cause: new Error('why') })
  expect(message).toBe('no lease')
  expect(stack).not.toContain('\n')
  expect(new Error('next').stack).toContain('errors.test.ts')
})
