import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../../../agent/firewall/command.ts'
import { removeTunnelFilter, type Tunnel, TunnelFilter } from '../../../agent/firewall/tunnel_filter.ts'
import { type Ip, parseIp } from '../../../lease/net/ip.ts'
import { Bed, whyNoBed } from '../../support/bed.ts'
import { RecordingLog } from '../../support/log.ts'
import type { Namespace } from '../../support/namespace.ts'

const never = new AbortController().signal
const ips = (...texts: string[]) => new Set(texts.map(parseIp))

describe.skipIf(whyNoBed() !== undefined)('the tunnel filter in nftables', () => {
  let bed: Bed
  let node: Namespace
  beforeAll(async () => {
    bed = await Bed.create({ name: 'filter' })
    node = await bed.segment('n', [])
  })
  afterAll(() => bed.dispose())

  let tunnel: Tunnel | undefined
  const wish = (publicIps: ReadonlySet<Ip>, port = 8472) => {
    const peers = { publicIps, hasPublicIp: (ip: Ip) => publicIps.has(ip) }
    tunnel = { device: 'flannel.1', vni: 1, port, underlay: 'eth0', peers }
  }

  function filter({
    lacks = false,
    resyncMs = 0,
    generation,
  }: {
    lacks?: boolean
    resyncMs?: number
    generation?: () => number
  } = {}) {
    const log = new RecordingLog()
    const commands: string[] = []
    const made = new TunnelFilter({
      resyncMs,
      nftGeneration: generation,
      tunnel: () => tunnel,
      log,
      run: async (command, input, signal) => {
        commands.push(input === '' ? command.slice(0, 3).join(' ') : input.trim())
        return lacks ? 'missing' : await runCommand(node.inside(command), input, signal)
      },
    })
    return { made, log, commands }
  }

  const table = () => node.exec(['nft', 'list', 'table', 'inet', 'twill-flannel.1'])

  it('holds the peers of both families, and then changes single elements', async () => {
    const { made, commands } = filter()
    wish(ips('192.168.0.7', 'fd00::7'))
    await made.pass(never)
    expect(await table()).toMatch(/192\.168\.0\.7[\s\S]*fd00::7/)
    commands.length = 0
    wish(ips('192.168.0.8', 'fd00::7'))
    await made.pass(never)
    expect(commands.filter(text => !text.startsWith('nft list'))).toEqual([
      'add element inet twill-flannel.1 peers4 { 192.168.0.8 }\ndelete element inet twill-flannel.1 peers4 { 192.168.0.7 }',
    ])
    expect(await table()).not.toContain('192.168.0.7')
  })

  it('is written whole where rules differ or another program deleted it, and not where all is right', async () => {
    const { made, log } = filter()
    wish(ips('192.168.0.7'))
    await made.pass(never)
    await made.pass(never)
    wish(ips('192.168.0.7'), 4789)
    await made.pass(never)
    await node.exec(['nft', 'delete', 'table', 'inet', 'twill-flannel.1'])
    await made.pass(never)
    await node.exec(['nft', 'add', 'rule', 'inet', 'twill-flannel.1', 'tunnel', 'accept'])
    await made.pass(never)
    expect(log.said(/tunnel filter written/)).toHaveLength(4)
    expect(await table()).not.toContain('accept\n')
    expect(await table()).toContain('dport 4789')
  })

  it('runs no tool where the generation of nftables tells that nothing has changed', async () => {
    const { made, commands } = filter({ generation: () => 7 })
    wish(ips('192.168.0.7'))
    await made.pass(never)
    await made.pass(never)
    commands.length = 0
    await made.pass(never)
    expect(commands).toEqual([])
  })

  it('does nothing for a network without a tunnel', async () => {
    const { made, commands } = filter()
    tunnel = undefined
    await made.pass(never)
    expect(commands).toEqual([])
  })

  it('that cannot be written for want of nft is one error, which says what to install', async () => {
    const { made, log } = filter({ lacks: true })
    wish(ips('192.168.0.7'))
    await made.pass(never)
    await made.pass(never)
    expect(
      log.said(/not filtered as --tunnel-filter asks: nft is not installed: install nftables/),
    ).toHaveLength(1)
  })

  it('is removed, and only where there is one', async () => {
    const run: typeof runCommand = (command, input, signal) => runCommand(node.inside(command), input, signal)
    expect(await removeTunnelFilter('flannel.1', never, run)).toBe(true)
    expect(await removeTunnelFilter('flannel.1', never, run)).toBe(false)
  })
})
