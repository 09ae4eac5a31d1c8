import { existsSync } from 'node:fs'
import { beforeEach, describe, expect, it } from 'vitest'
import { Attempts } from '../../../agent/reconcile/attempts.ts'
import { ContestLog } from '../../../agent/status/contest_log.ts'
import { RecordingLog } from '../../support/log.ts'

describe('the log of what somebody keeps undoing', () => {
  let log: RecordingLog
  let contests: ContestLog
  let attempts: Attempts
  beforeEach(() => {
    log = new RecordingLog()
    contests = new ContestLog(log)
    attempts = new Attempts()
  })

  const fight = (key: string, times = 6) => {
    for (let i = 0; i < times; i++) attempts.repaired(key, 0)
  }

  it('names the entry, how often it was repaired, and who may be at it, once', () => {
    fight('route 10.1.2.0/24 metric 0', 7)
    contests.write(attempts.contested)
    contests.write(attempts.contested)
    expect(log.lines).toHaveLength(1)
    expect(log.lines[0]).toMatchObject({
      level: 'warn',
      fields: { entry: 'route 10.1.2.0/24 metric 0', repaired: 7 },
      message: expect.stringMatching(/^somebody keeps changing route .*ManageForeignRoutes/),
    })
  })

  it('says when it is over, and again when it starts again', () => {
    fight('link flannel.1')
    contests.write(attempts.contested)
    attempts.forget('link flannel.1')
    contests.write(attempts.contested)
    fight('link flannel.1')
    contests.write(attempts.contested)
    expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'info', 'warn'])
  })

  it('names ten of many, and counts the others', () => {
    for (let n = 0; n < 500; n++) fight(`neighbor 10.1.${n}.0 dev flannel.1`)
    contests.write(attempts.contested)
    expect(log.lines).toHaveLength(11)
    expect(log.lines[10]?.fields).toEqual({ entries: 490 })
  })

  it('points to files that are there', () => {
    for (const kind of ['link', 'address', 'route', 'neighbor', 'fdb']) fight(`${kind} x`)
    contests.write(attempts.contested)
    const text = log.lines.map(({ message }) => message).join('\n')
    const files = [...text.matchAll(/\(([\w.-]+\/[\w.-]+)\)/g)].map(match => match[1])
    expect(new Set(files).size).toBe(5)
    expect(files.filter(file => !existsSync(`manifests/systemd/${file}`))).toEqual([])
  })
})
