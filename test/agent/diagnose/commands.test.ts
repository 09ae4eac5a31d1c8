import { describe, expect, it } from 'vitest'
import { printCommands } from '../../../agent/diagnose/commands.ts'
import { entry } from '../../support/entries.ts'

describe('an operation as commands for a shell', () => {
  it('reads as iproute2 takes it', () => {
    const route = entry('route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink')
    expect(printCommands({ verb: 'delete', entry: route })).toEqual([
      'ip route delete 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
    ])
  })

  it('quotes the name of a device that another program chose', () => {
    const route = entry('route 10.244.2.0/24 via 192.168.0.2 dev $(reboot)')
    expect(printCommands({ verb: 'add', entry: route })).toEqual([
      "ip route replace 10.244.2.0/24 via 192.168.0.2 dev '$(reboot)'",
    ])
  })
})
