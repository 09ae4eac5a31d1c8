import { beforeEach, describe, expect, it } from 'vitest'
import { PeerLog } from '../../../../agent/status/log/peer_log.ts'
import type { Lease } from '../../../../lease/lease.ts'
import { vxlanLease } from '../../../support/leases.ts'
import { RecordingLog } from '../../../support/log.ts'

const peer = (number: number, ip = `192.168.0.${number}`) =>
  vxlanLease(`n${number}`, '02:00:00:00:00:02', `10.244.${number}.0/24 at ${ip}`)

describe('the log of peers', () => {
  let log: RecordingLog
  let peers: PeerLog
  let table: Map<string, Lease>
  beforeEach(() => {
    log = new RecordingLog()
    peers = new PeerLog(log)
    table = new Map()
  })

  const write = (...changed: string[]) => peers.write(table, new Set(changed), 'self')
  const lines = () => log.lines.map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`)

  it('says which came, changed and went, and nothing of this node or of what is as it was', () => {
    table.set('n2', peer(2)).set('self', peer(1))
    write('n2', 'self')
    write('n2')
    table.set('n2', peer(2, '192.168.0.9'))
    write('n2')
    table.delete('n2')
    write('n2')
    expect(lines()).toEqual([
      'peer joined {"node":"n2","lease":"10.244.2.0/24 at 192.168.0.2"}',
      'peer changed {"node":"n2","lease":"10.244.2.0/24 at 192.168.0.9","was":"10.244.2.0/24 at 192.168.0.2"}',
      'peer left {"node":"n2","lease":"10.244.2.0/24 at 192.168.0.9"}',
    ])
  })

  it('gives the number where many change at once', () => {
    for (let number = 1; number <= 21; number++) table.set(`n${number}`, peer(number))
    write(...table.keys())
    expect(lines()).toEqual(['peers changed {"changed":21,"peers":21}'])
  })

  it('says what is refused once for each reason, and when it is no longer', () => {
    const isProgrammed = (node: string) => node === 'n4'
    const refuse = (reason: string, node = 'n2') =>
      peers.writeRefused(new Map([[node, reason]]), isProgrammed)
    refuse('its MAC is zero')
    refuse('its MAC is zero')
    refuse('its MAC is multicast')
    refuse('its IPv6 part is no address', 'n4')
    expect(lines()).toEqual([
      'lease refused: not programmed {"node":"n2","reason":"its MAC is zero"}',
      'lease refused: not programmed {"node":"n2","reason":"its MAC is multicast"}',
      'lease refused in part: the peer is programmed without that part {"node":"n4","reason":"its IPv6 part is no address"}',
      'lease no longer refused {"node":"n2"}',
    ])
  })
})
