import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openBackend } from '../../agent/backend/registry.ts'
import { Firewall } from '../../agent/firewall/firewall.ts'
import { HostSide } from '../../agent/host_side/host_side.ts'
import type { Scope, UnderlaySource } from '../../agent/kernel/kernel.ts'
import { OwnLease } from '../../agent/membership/own_lease.ts'
import { NodeFiles } from '../../agent/node_files/node_files.ts'
import { Overlay } from '../../agent/overlay.ts'
import type { InterfaceFacts } from '../../agent/state/underlay_facts.ts'
import { HostWatch } from '../../agent/status/host_watch.ts'
import { RoundTotals } from '../../agent/status/status.ts'
import { UnderlayWatch } from '../../agent/underlay/underlay_watch.ts'
import { Retrier } from '../../lease/common/retry.ts'
import { isScarcity } from '../../lease/common/scarcity.ts'
import { WakeUp } from '../../lease/common/wake_up.ts'
import { parseIp } from '../../lease/net/ip.ts'
import { parsePrefix } from '../../lease/net/prefix.ts'
import { parseNetworkConfig } from '../../lease/network_config/parser.ts'
import { nodeSubnets } from '../../lease/node_subnets.ts'
import { entry } from '../support/entries.ts'
import { FakeKernel } from '../support/fake_kernel.ts'
import { RecordingLog } from '../support/log.ts'
import { MemoryServer, MemoryStore } from '../support/memory_store.ts'
import { until } from '../support/until.ts'

const config = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'
const peer =
  '{"PublicIP":"192.168.0.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}}'
const device =
  'link flannel.1 mtu 1450 state UP address 02:01:02:03:04:05 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning'
const whole = [
  device,
  'address 10.244.1.0/32 dev flannel.1',
  'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2',
  'neighbor 10.244.2.0 dev flannel.1 lladdr 02:00:00:00:00:02',
  'route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink',
].sort()

/** Says in which order it is asked. */
class OrderedKernel extends FakeKernel {
  readonly order: string[] = []

  override snapshot(scope: Scope, signal: AbortSignal) {
    this.order.push('snapshot')
    return super.snapshot(scope, signal)
  }

  override changes(scope: Scope, signal: AbortSignal) {
    this.order.push('changes')
    return super.changes(scope, signal)
  }
}

describe('an overlay', () => {
  let kernel: OrderedKernel
  let server: MemoryServer
  let log: RecordingLog
  let stop: AbortController
  let folder: string
  let ip: string
  let ready: boolean
  let running: Promise<void>
  beforeEach(() => {
    kernel = new OrderedKernel()
    server = new MemoryServer()
    server.writeConfig(config)
    log = new RecordingLog()
    stop = new AbortController()
    folder = mkdtempSync(join(tmpdir(), 'twill-overlay-'))
    ip = '192.168.0.1'
    ready = false
  })
  afterEach(async () => {
    stop.abort(new Error('the test is over'))
    await running
    rmSync(folder, { recursive: true })
  })

  const source: UnderlaySource = {
    listInterfaces: async () => {
      kernel.order.push('interfaces')
      return [eth0(ip)]
    },
    listRoutes: async () => [],
    routeTo: async () => undefined,
  }

  /** Joined, but nothing runs yet. */
  async function joined(): Promise<Overlay> {
    const network = parseNetworkConfig(config)
    const backend = openBackend(network)
    const store = new MemoryStore(server)
    const scope: Scope = { devices: backend.devices, routeProtocol: 117 }
    const wish = {
      iface: ['eth0'],
      ifaceRegex: [],
      ifaceCanReach: undefined,
      publicIps: { ipv4: undefined, ipv6: undefined },
    }
    const underlay = new UnderlayWatch({
      kernel: source,
      scope,
      network,
      wish,
      endpoints: [],
      patienceMs: 10_000,
      log,
    })
    const stateChanged = new WakeUp()
    const onChange = () => stateChanged.set()
    const ownLease = new OwnLease(
      {
        store,
        network,
        backend,
        log,
        previousSubnets: [parsePrefix('10.244.1.0/24')],
        deviceMacs: [undefined],
        leaseLost: 'wait',
        hostNetworks: () => [],
        randomBytes: () => Uint8Array.of(2, 1, 2, 3, 4, 5),
        onChange,
      },
      await underlay.choose(stop.signal),
    )
    const self = await ownLease.claim(stop.signal)
    const rules = {
      ipMasq: false,
      randomPorts: true,
      forwardRules: false,
      forwardFirst: false,
      nftables: false,
      resyncMs: 60_000,
      onChange,
    }
    return new Overlay({
      store,
      network,
      backend,
      kernel,
      scope,
      ownLease,
      underlay,
      self,
      standing: new Set(),
      rounds: new RoundTotals(),
      resyncMs: 3_600_000,
      host: new HostSide({
        firewall: new Firewall(rules, nodeSubnets(network, self), log, async () => 'missing'),
        files: new NodeFiles({
          subnetFile: join(folder, 'subnet.env'),
          cniConfigFile: undefined,
          ipMasq: false,
          log,
          onChange,
        }),
        hostWatch: new HostWatch({ examine: async () => [], onChange, log }),
        tunnelFilter: undefined,
        probePort: undefined,
        traceForPeer: async () => ({}),
        log,
      }),
      stateChanged,
      retrier: new Retrier({
        minMs: 1,
        maxMs: 1,
        away: { failures: 1, afterMs: 1 },
        isTrouble: isScarcity,
        sayAfterMs: 0,
        random: Math.random,
        now: () => performance.now(),
        log,
      }),
      onReady: async () => {
        ready = true
      },
      log,
    })
  }
  const run = (overlay: Overlay) => {
    running = overlay.run(stop.signal).catch(() => {})
  }
  const stands = () =>
    until('all to stand', () => kernel.print().join('\n') === whole.join('\n'), {
      otherwise: () => kernel.print().join('\n'),
    })

  it('listens before it looks: at the underlay as at the kernel', async () => {
    server.write('10.244.2.0-24', peer)
    const overlay = await joined()
    kernel.order.length = 0
    run(overlay)
    await stands()
    expect(kernel.order.slice(0, 3)).toEqual(['changes', 'interfaces', 'snapshot'])
  })

  it.each(['EMFILE', 'ENOMEM', 'ENOBUFS'])(
    'tries again where the host has run out of something: %s',
    async code => {
      server.write('10.244.2.0-24', peer)
      const overlay = await joined()
      let failures = 3
      kernel.hook = act => {
        if (act === 'snapshot' && failures-- > 0) throw Object.assign(new Error(`no more: ${code}`), { code })
      }
      run(overlay)
      await stands()
      await until('the announcement', () => ready)
      expect(log.said(/^Cannot program the kernel, trying again: no more/)).toHaveLength(1)
      expect(log.said(/^Can program the kernel again/)).toHaveLength(1)
    },
  )

  it('has repaired only after a full pass that began after the request', async () => {
    server.write('10.244.2.0-24', peer)
    const overlay = await joined()
    run(overlay)
    await stands()
    const { snapshot } = kernel
    const answers: (() => void)[] = []
    kernel.snapshot = async (...request) => {
      const seen = await snapshot.apply(kernel, request)
      await new Promise<void>(resolve => answers.push(resolve))
      return seen
    }
    overlay.refresh('a pass is under way')
    await until('it to have looked', () => answers.length === 1)
    // No notification tells of it: only a full pass finds it.
    kernel.entries.delete('route 10.244.2.0/24 metric 0')
    let isRepaired = false
    const repair = overlay.repair('an operator asks for it', stop.signal).then(() => {
      isRepaired = true
    })
    answers[0]?.()
    await until('the next pass to look', () => answers.length === 2)
    expect([isRepaired, kernel.print().join('\n') === whole.join('\n')]).toEqual([false, false])
    answers[1]?.()
    await repair
    expect(kernel.print()).toEqual(whole)
  })

  it('ends with any other error of the kernel', async () => {
    const overlay = await joined()
    kernel.hook = act => {
      if (act === 'snapshot') throw new TypeError('x is undefined')
    }
    running = Promise.resolve()
    await expect(overlay.run(stop.signal)).rejects.toThrow('x is undefined')
  })

  it('misses nothing that changes while it starts', async () => {
    server.write('10.244.2.0-24', peer)
    const overlay = await joined()
    let meddled = 0
    kernel.hook = act => {
      if (act !== 'snapshot' || meddled++ > 0) return
      kernel.put(entry('route 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink'))
    }
    run(overlay)
    await stands()
  })

  it('notices that the public IP has changed between the choice and the start', async () => {
    server.write('10.244.2.0-24', peer)
    const overlay = await joined()
    ip = '192.168.0.77'
    run(overlay)
    await until('the device to start there', () => kernel.print().join('\n').includes('local 192.168.0.77'))
    await until('the lease', () => JSON.stringify([...server.entries]).includes('192.168.0.77'))
  })

  it('prunes nothing before the first complete table', async () => {
    server.write('10.244.2.0-24', peer)
    for (const text of [device, ...whole]) kernel.put(entry(text))
    const overlay = await joined()
    server.reachable = false
    run(overlay)
    kernel.overflow()
    await until(
      'the underlay to be looked at again',
      () => kernel.order.filter(act => act === 'interfaces').length > 1,
    )
    expect([kernel.log, reasons(overlay)]).toEqual([[], ['waiting for the first complete lease table']])
    server.reachable = true
    await until('it to be ready', () => ready)
    expect(kernel.log).toEqual([])
  })

  it('writes subnet.env once all stands, and is ready then', async () => {
    const overlay = await joined()
    kernel.hook = () => expect(() => readFileSync(join(folder, 'subnet.env'))).toThrow('ENOENT')
    run(overlay)
    await until('it to be ready', () => ready)
    expect(readFileSync(join(folder, 'subnet.env'), 'utf8')).toContain(
      'FLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\n',
    )
    expect(reasons(overlay)).toEqual([])
    expect(overlay.status()).toMatchObject({ peers: 0, failing: [], contested: [] })
  })

  it("is not ready while the kernel refuses an entry of its own, and is for a peer's", async () => {
    server.write('10.244.2.0-24', peer)
    kernel.refuse(
      'route 10.244.2.0/24 metric 0',
      new Error('Cannot add route 10.244.2.0/24: Nexthop has invalid gateway'),
    )
    kernel.refuse(
      'address 10.244.1.0/32 dev flannel.1',
      new Error('Cannot add address: No buffer space available'),
    )
    const overlay = await joined()
    run(overlay)
    await until('both to fail', () => overlay.status().failing.length === 2)
    await until('the file', () => reasons(overlay).length === 1)
    expect(reasons(overlay)).toEqual(['Cannot add address: No buffer space available'])
    kernel.accept('address 10.244.1.0/32 dev flannel.1')
    await until('it to be ready', () => reasons(overlay).length === 0)
    expect(overlay.status().failing).toEqual([
      {
        key: 'route 10.244.2.0/24 metric 0',
        error: 'Cannot add route 10.244.2.0/24: Nexthop has invalid gateway',
      },
    ])
  })

  it('ends with the first error that any of its tasks did not expect', async () => {
    const overlay = await joined()
    kernel.hook = () => {
      throw new TypeError('broken on purpose')
    }
    running = Promise.resolve()
    await expect(overlay.run(stop.signal)).rejects.toThrow('broken on purpose')
  })
})

function eth0(ip: string): InterfaceFacts {
  const flags = { permanent: true, deprecated: false, temporary: false, tentative: false }
  const address = { address: parseIp(ip), length: 24, scope: 'global' as const, ...flags }
  return {
    index: 2,
    name: 'eth0',
    underlayMtu: 1500,
    up: true,
    loopback: false,
    vxlan: undefined,
    addresses: [address],
  }
}

/** Why it is not ready. */
function reasons(overlay: Overlay): string[] {
  return overlay.status().checks.flatMap(check => check.reasons)
}
