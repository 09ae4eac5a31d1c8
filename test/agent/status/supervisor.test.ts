import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { notifySupervisor } from '../../../agent/status/supervisor.ts'
import { Process } from '../../support/process.ts'
import { until } from '../../support/until.ts'

describe('telling systemd', () => {
  it('sends the state as one datagram to the socket that it names', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'twill-notify-'))
    const socket = join(folder, 'notify')
    const said = join(folder, 'said')
    const systemd = new Process(['perl', '-e', listener(socket)], said)
    try {
      await systemd.says(/bound/)
      await notifySupervisor('READY=1', socket)
      await until('systemd to hear it', () => systemd.text().includes('READY=1'))
    } finally {
      await systemd.kill9()
      rmSync(folder, { recursive: true })
    }
  })

  it('does nothing where nobody asked', async () => {
    await notifySupervisor('READY=1', undefined)
    await notifySupervisor('READY=1', '')
  })

  it('names a socket that is not there', async () => {
    await expect(notifySupervisor('READY=1', '/run/none/notify')).rejects.toThrow(
      'Cannot send to the socket /run/none/notify: no such file or directory (ENOENT)',
    )
  })
})

/** Node.js opens no datagram sockets of this kind; perl is part of every Debian. */
function listener(socket: string): string {
  return [
    'use Socket; $| = 1;',
    'socket(my $s, PF_UNIX, SOCK_DGRAM, 0) or die $!;',
    `bind($s, sockaddr_un('${socket}')) or die $!;`,
    'print "bound\\n"; recv($s, my $text, 99, 0); print "$text\\n"; sleep 9',
  ].join(' ')
}
