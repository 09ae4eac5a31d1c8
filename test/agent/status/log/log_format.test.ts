import { describe, expect, it } from 'vitest'
import { formatLine } from '../../../../agent/status/log/log_format.ts'

const line = (record: object) => `${JSON.stringify(record)}\n`
const time = '2026-11-28T03:00:00.000Z'

describe('a log line', () => {
  it('is JSON as it came where no person and no journal reads it', () => {
    const json = line({ level: 'warn', time, msg: 'careful', node: 'a' })
    expect(formatLine(json, { format: 'json', journal: false })).toBe(json)
  })

  it.each([
    ['error', 3],
    ['warn', 4],
    ['info', 6],
    ['debug', 7],
    ['trace', 7],
  ])('has the priority of %s in front for journald: %i', (level, priority) => {
    const json = line({ level, time, msg: 'm' })
    expect(formatLine(json, { format: 'json', journal: true })).toBe(`<${priority}>${json}`)
    expect(formatLine(json, { format: 'text', journal: true })).toBe(`<${priority}>m\n`)
  })

  it('is text for a person: time, level, message, then the fields', () => {
    const json = line({ level: 'warn', time, node: 'node-b', peers: 3, reason: 'two words', msg: 'refused' })
    expect(formatLine(json, { format: 'text', journal: false })).toBe(
      `${time} WARN  refused  node=node-b  peers=3  reason="two words"\n`,
    )
  })

  it('stays one line whatever its fields hold', () => {
    const json = line({ level: 'info', time, a: 'x\ny', b: { c: ['d\n'] }, d: 'e=f', msg: 'm' })
    expect(formatLine(json, { format: 'text', journal: false })).toBe(
      `${time} INFO  m  a="x\\ny"  b={"c":["d\\n"]}  d="e=f"\n`,
    )
  })
})
