import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { twill } from '../../../support/twill.ts'

const isBooted = existsSync('/run/systemd/system')

describe.skipIf(isBooted)('twill install where there is no systemd', () => {
  it('says what is to be run instead', async () => {
    const { code, err } = await twill('install --first-host --iface=eth0')
    expect(code).toBe(1)
    expect(err).toMatch(/^twill: There is no systemd here .* run as root: .*twilld\.js .*--embedded-etcd\n$/)
  })

  it('keeps each value of a flag that is repeated, and a switch that is switched off', async () => {
    const line =
      'install -iface=eth0 --iface eth1 --join=192.0.2.1 --ip-masq=false --iptables-forward-rules=false'
    expect((await twill(line)).err).toMatch(
      / --iface=eth0 --iface=eth1 --ip-masq=false .*--iptables-forward-rules=false .*--etcd-endpoints=192\.0\.2\.1\n$/,
    )
    expect((await twill('install --join=fd00::1')).err).toContain(" '--etcd-endpoints=[fd00::1]'\n")
  })

  it('takes no password on the command line', async () => {
    expect(await twill('install --etcd-endpoints=h:2379 --etcd-password=x')).toMatchObject({
      code: 2,
      err: expect.stringContaining('give --etcd-password-file'),
    })
  })

  it('has nothing to undo', async () => {
    expect(await twill('uninstall')).toMatchObject({ code: 1, err: expect.stringContaining('twill cleanup') })
  })
})
