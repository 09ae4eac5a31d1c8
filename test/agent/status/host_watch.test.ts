import { describe, expect, it } from 'vitest'
import type { Finding } from '../../../agent/diagnose/doctor/finding.ts'
import { brokenByHost, HostWatch, type HostWatchOptions } from '../../../agent/status/host_watch.ts'
import { RecordingLog } from '../../support/log.ts'
import { until } from '../../support/until.ts'

const forwarding: Finding = {
  check: 'forwarding',
  severity: 'broken',
  what: 'this host does not pass packets on',
  evidence: 'net.ipv4.ip_forward = 0',
  cause: 'a sysctl file',
  remedy: 'sysctl -w net.ipv4.ip_forward=1',
}

/** A watch that looks all the time; `found` is what the next look finds. */
function watchOf(times: Partial<HostWatchOptions> = {}) {
  const state = { found: [] as readonly Finding[], looks: 0, changes: 0 }
  const log = new RecordingLog()
  const stop = new AbortController()
  const watch = new HostWatch({
    examine: async () => {
      state.looks += 1
      return state.found
    },
    onChange: () => {
      state.changes += 1
    },
    log,
    ...{ periodMs: 1, confirmMs: 1, ...times },
  })
  const ended = watch.run(stop.signal).catch(() => {})
  const look = async (times: number) => {
    const from = state.looks
    await until(`${times} looks`, async () => state.looks >= from + times)
  }
  const end = async () => {
    stop.abort()
    await ended
  }
  return { state, log, watch, look, end }
}

describe('the watch on the host', () => {
  it('says a finding once when it stands, and once when it is over', async () => {
    const { state, log, watch, look, end } = watchOf()
    state.found = [forwarding]
    await look(6)
    expect(watch.findings).toEqual([forwarding])
    state.found = []
    await look(6)
    await end()
    expect(watch.findings).toEqual([])
    expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      'warn this host does not pass packets on: sysctl -w net.ipv4.ip_forward=1',
      'info a trouble of this host is over',
    ])
    expect(state.changes).toBe(2)
  })

  it('says each finding of a check, once', async () => {
    const { state, log, look, end } = watchOf()
    state.found = [forwarding, { ...forwarding, evidence: 'net.ipv6.conf.all.forwarding = 0' }]
    await look(6)
    await end()
    expect(log.lines.map(({ message, fields }) => [message, Object(fields).evidence].join(' '))).toEqual([
      'this host does not pass packets on: sysctl -w net.ipv4.ip_forward=1 net.ipv4.ip_forward = 0',
      'this host does not pass packets on: sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding = 0',
    ])
  })

  it('takes nothing for a finding that is gone at the next look', async () => {
    const { state, log, look, end } = watchOf()
    await look(2)
    // One look sees it, and each second look does not.
    let odd = false
    Object.defineProperty(state, 'found', {
      get: () => {
        odd = !odd
        return odd ? [forwarding] : []
      },
    })
    await look(8)
    await end()
    expect(log.lines).toEqual([])
  })

  it('confirms nothing by a look that a change asks for, before the time is over', async () => {
    const { state, watch, look, end } = watchOf({ confirmMs: 3_600_000 })
    state.found = [forwarding]
    await look(1)
    for (let i = 0; i < 50; i++) {
      watch.review()
      await new Promise(resolve => setImmediate(resolve))
    }
    await end()
    expect(watch.findings).toEqual([])
  })

  it('finds out soon that what kept the node from being ready is over, though nothing tells of it', async () => {
    const { state, watch, end } = watchOf({ periodMs: 3_600_000, brokenMs: 1 })
    state.found = [forwarding]
    watch.review()
    await until('the finding', () => watch.findings.length === 1)
    state.found = []
    await until('its end', () => watch.findings.length === 0)
    await end()
  })

  it('leaves to the agent what the agent says itself', async () => {
    const { state, watch, look, end } = watchOf()
    state.found = [{ ...forwarding, check: 'readiness' }]
    await look(6)
    await end()
    expect(watch.findings).toEqual([])
  })

  it('keeps a node from being ready only by what is broken', () => {
    const risk: Finding = { ...forwarding, check: 'overlap', severity: 'risk' }
    expect(brokenByHost([forwarding, risk])).toEqual([
      'this host does not pass packets on (net.ipv4.ip_forward = 0): sysctl -w net.ipv4.ip_forward=1',
    ])
  })
})
