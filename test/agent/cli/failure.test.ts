import { expect, it } from 'vitest'
import { failed } from '../../../agent/cli/failure.ts'

it('prints the places of an unexpected error, and its message once, escaped', () => {
  const message = 'no \u001b[2Jroute\n    at root (all is well)\u009b31m'
  let out = ''
  expect(failed(new TypeError(message), { write: text => (out += text) }, undefined)).toBe(70)
  const [said, ...places] = out.trimEnd().split('\n')
  expect(said).toBe('twill: no \\u001b[2Jroute\\u000a    at root (all is well)\\u009b31m')
  expect(places[0]).toMatch(/^ +at .*failure\.test\.ts/)
  expect(places.filter(line => !/^ +at /.test(line) || line.includes('root'))).toEqual([])
})
