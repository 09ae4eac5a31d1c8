import { describe, expect, it } from 'vitest'
import { fatalReason, whatToDo } from '../../../agent/embedded_etcd/why_it_ended.ts'

describe('why etcd ended', () => {
  it('is what its last fatal line says', () => {
    const line =
      '{"level":"panic","msg":"failed to create WAL","error":"no space left on device","stacktrace":"x"}'
    expect(fatalReason(line)).toBe('failed to create WAL: no space left on device')
    expect(fatalReason('{"level":"info","msg":"x"}')).toBeUndefined()
    expect(fatalReason('{"level":"fatal","msg":7')).toBeUndefined()
    expect(fatalReason('goroutine 1 [running]:')).toBeUndefined()
  })

  it.each([
    [
      'failed to commit tx: write /d/member/snap/db: no space left on device',
      /the disk of \/d is full .*: free space there/,
    ],
    [
      'discovery failed: walpb: crc mismatch',
      /\/d\/member is damaged .*: stop the agent, move \/d\/member away/,
    ],
    ['failed to open database: invalid database', /\/d\/member is damaged/],
    ['failed to open database: file size too small', /\/d\/member is damaged/],
    [
      'the member has been permanently removed from the cluster',
      /was removed from its cluster: move \/d\/member away/,
    ],
    ['listen tcp: address in use', /^listen tcp: address in use$/],
  ])('%s says the way out', (reason, words) => {
    expect(whatToDo(reason, '/d')).toMatch(words)
  })
})
