import { existsSync } from 'node:fs'
import { beforeEach, describe, expect, it } from 'vitest'
import { Contests } from '../../../../agent/reconcile/contests.ts'
import { ContestLog } from '../../../../agent/status/log/contest_log.ts'
import { entries } from '../../../support/entries.ts'
import { RecordingLog } from '../../../support/log.ts'

const device =
  'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning'
const route = 'route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink'
const others = `
  address 10.1.1.0/32 dev flannel.1
  fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2
  neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02`

describe('the log of what another program keeps undoing', () => {
  let log: RecordingLog
  let contestLog: ContestLog
  let contests: Contests
  beforeEach(() => {
    log = new RecordingLog()
    contestLog = new ContestLog(log)
    contests = new Contests()
  })

  const fight = (text: string, fromMs = 0) => {
    for (let i = 0; i < 7; i++) contests.repaired(entries(text), fromMs + i * 100)
    contestLog.write(contests.named(fromMs + 600))
  }

  it('names the entry, how often it was repaired, and which program that may be, once', () => {
    fight(route)
    fight(route, 700)
    expect(log.lines).toHaveLength(1)
    expect(log.lines[0]).toMatchObject({
      level: 'warn',
      fields: { entries: 'route 10.1.2.0/24 metric 0', repaired: 7 },
      message: expect.stringMatching(/^another program keeps changing route .*ManageForeignRoutes/),
    })
  })

  it('says when it is over, and again when it starts again', () => {
    fight(device)
    contestLog.write(contests.named(60_000))
    fight(device, 60_000)
    expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'info', 'warn'])
  })

  it('has one line for each cause, when it starts and when it ends, however many entries are undone', () => {
    const many = Array.from(
      { length: 500 },
      (_, n) => `neighbor 10.1.${n % 256}.${n >> 8} dev flannel.1 lladdr 02:00:00:00:00:02`,
    )
    fight(many.join('\n'))
    contestLog.write(contests.named(60_000))
    expect(log.lines.map(({ fields }) => fields)).toMatchObject([
      { entries: '500 neighbor entries on flannel.1', repaired: 7 },
      { entries: '500 neighbor entries on flannel.1' },
    ])
  })

  it('points to files that are there', () => {
    fight(`${device}\n${route}\n${others.trim()}`)
    const text = log.lines.map(({ message }) => message).join('\n')
    const files = [...text.matchAll(/\(([\w.-]+\/[\w.-]+)\)/g)].map(match => match[1])
    expect(new Set(files).size).toBe(5)
    expect(files.filter(file => !existsSync(`manifests/systemd/${file}`))).toEqual([])
  })
})
