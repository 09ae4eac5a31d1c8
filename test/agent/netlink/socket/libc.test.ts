import { expect, it } from 'vitest'
import { LibcError } from '../../../../agent/netlink/socket/libc.ts'
import { isScarcity } from '../../../../lease/common/scarcity.ts'

it.each([
  ['ENOBUFS', 105, true],
  ['ENOMEM', 12, true],
  ['EPERM', 1, false],
])('an error of the C library has its code: %s', (code, errno, isScarce) => {
  const error = new LibcError('Cannot send a netlink message', errno)
  expect(error.code).toBe(code)
  expect(error.message).toMatch(new RegExp(`^Cannot send a netlink message: .* \\(${code}\\)$`))
  expect(isScarcity(error)).toBe(isScarce)
})
