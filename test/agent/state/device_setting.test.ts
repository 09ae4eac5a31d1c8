import { expect, it } from 'vitest'
import { deviceSetting } from '../../../agent/state/device_setting.ts'
import { run } from '../../support/exec.ts'

it.each(['eth0', 'flannel.1', 'eth0.100.200', 'br-1.2'])('is what sysctl takes for %s', async device => {
  const setting = deviceSetting('ipv4', device, 'rp_filter')
  const commands = [
    `ip link add ${device} type bridge`,
    `sysctl -qw ${setting}=2`,
    `cat /proc/sys/net/ipv4/conf/${device}/rp_filter`,
  ]
  expect(await run(['unshare', '--net', 'sh', '-ec', commands.join('; ')])).toBe('2\n')
})
