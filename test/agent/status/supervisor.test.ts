import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { RoundTotals } from '../../../agent/status/status.ts'
import { announceReady, keepSupervisorInformed } from '../../../agent/status/supervisor.ts'
import { vxlanLease } from '../../support/leases.ts'
import { RecordingLog } from '../../support/log.ts'
import { Process } from '../../support/process.ts'
import { status } from '../../support/status.ts'
import { until } from '../../support/until.ts'

/** Runs `act` beside a systemd that listens; `said` is what it has heard, a line each. */
async function underSystemd(act: (socket: string, said: () => string[]) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'twill-notify-'))
  const socket = join(folder, 'notify')
  const systemd = new Process(['perl', '-e', listener(socket)], join(folder, 'said'))
  try {
    await systemd.says(/bound/)
    await act(socket, () => systemd.text().trim().split('\n').slice(1))
  } finally {
    await systemd.kill9()
    rmSync(folder, { recursive: true })
  }
}

describe('telling systemd', () => {
  it('sends the state as one datagram to the socket that it names', () =>
    underSystemd(async (socket, said) => {
      await announceReady({ socket, watchdogMs: undefined }, new RecordingLog())
      await until('systemd to hear it', () => said().includes('READY=1'))
    }))

  it('says how it is when that changes, that it lives until a round hangs, and that it stops', () =>
    underSystemd(async (socket, said) => {
      let now = status({ notReady: ['no route to etcd', 'more'] })
      const stop = new AbortController()
      const supervision = { socket, watchdogMs: 3 }
      const ended = keepSupervisorInformed(supervision, () => now, new RecordingLog(), stop.signal)
      await until('two beats', () => said().filter(line => line === 'WATCHDOG=1').length > 1)
      now = status({ lease: vxlanLease('h1', '02:00:00:00:00:01', '10.244.1.0/24 at 192.168.0.1'), peers: 7 })
      await until('a new state', () => said().includes('STATUS=ready: 10.244.1.0/24, 7 peers'))
      expect(said().filter(line => line.startsWith('STATUS='))).toEqual([
        'STATUS=not ready: no route to etcd (and 1 more: twill status)',
        'STATUS=ready: 10.244.1.0/24, 7 peers',
      ])
      now = status({ notReady: ['hung'], roundMs: 70_000, rounds: new RoundTotals() })
      await until('the state of one that hangs', () => said().at(-1) === 'STATUS=not ready: hung')
      stop.abort()
      await ended.catch(() => {})
      await until('its end', () => said().includes('STOPPING=1'))
      expect(said().slice(-2)).toEqual(['STATUS=not ready: hung', 'STOPPING=1'])
    }))

  it('does nothing where no supervisor asked', async () => {
    const log = new RecordingLog()
    for (const socket of [undefined, '']) await announceReady({ socket, watchdogMs: undefined }, log)
    expect(log.lines).toEqual([])
  })

  it('warns of a socket that is not there, and names it', async () => {
    const log = new RecordingLog()
    await announceReady({ socket: '/run/none/notify', watchdogMs: undefined }, log)
    expect(log.lines).toMatchObject([
      {
        level: 'warn',
        message:
          'Cannot tell systemd that this node is ready: Cannot send to the socket /run/none/notify: no such file or directory (ENOENT)',
      },
    ])
  })
})

/** Node.js opens no datagram sockets of this kind; perl is part of every Debian. */
function listener(socket: string): string {
  return [
    'use Socket; $| = 1;',
    'socket(my $s, PF_UNIX, SOCK_DGRAM, 0) or die $!;',
    `bind($s, sockaddr_un('${socket}')) or die $!;`,
    'print "bound\\n"; while (defined recv($s, my $text, 999, 0)) { print "$text\\n" }',
  ].join(' ')
}
