import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DeviceChange, Kernel, KernelChange, Scope } from '../../agent/kernel/kernel.ts'
import type { Entry } from '../../agent/state/entry.ts'
import type { Operation } from '../../agent/state/operation.ts'
import { entryKey, printEntry } from '../../agent/state/print.ts'
import { entries, entry, link } from '../support/entries.ts'

/**
 * A kernel with an underlay interface `eth0` that has 192.168.0.1/24 and fd00::1/64 and MTU 1500, a second interface `eth1`
 * with 192.168.9.1/24, and nothing that is ours. Recreated for each test.
 */
export interface KernelBed {
  readonly kernel: Kernel
  /** Another program does what the operations say. */
  meddle(operations: readonly Operation[]): Promise<void>
  close(): Promise<void>
}

const scope: Scope = { devices: ['flannel.1', 'flannel-v6.1'], routeProtocol: 117 }

const device4 =
  'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning'
const device6 =
  'link flannel-v6.1 mtu 1430 state UP address 02:00:00:00:00:01 vxlan id 1 local6 fd00::1 dev eth0 dstport 8472 nolearning'
const ipv4 = `
  ${device4}
  address 10.1.1.0/32 dev flannel.1
  fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2
  neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02
  route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink`
const ipv6 = `
  ${device6}
  address fd01:1::/128 dev flannel-v6.1
  fdb 02:00:00:00:00:02 dev flannel-v6.1 dst fd00::2
  neighbor fd01:2:: dev flannel-v6.1 lladdr 02:00:00:00:00:02
  route fd01:2::/64 via fd01:2:: dev flannel-v6.1 metric 1024 onlink`
const elsewhere = `
  route 10.1.3.0/24 via 192.168.0.3 dev eth0 proto 117
  route fd01:3::/64 via fd00::3 dev eth0 proto 117 metric 1024
  route blackhole 10.1.0.0/16 proto 117
  route blackhole fd01::/48 proto 117 metric 1024`

export const adding = (added: readonly Entry[]): Operation[] => added.map(entry => ({ verb: 'add', entry }))
export const deleting = (gone: readonly Entry[]): Operation[] =>
  gone.map(entry => ({ verb: 'delete', entry }))

/** What every kernel promises. */
export function describeKernel(name: string, makeBed: () => Promise<KernelBed>): void {
  describe(`${name} as a kernel`, () => {
    let bed: KernelBed
    let stop: AbortController
    beforeEach(async () => {
      bed = await makeBed()
      stop = new AbortController()
    })
    afterEach(async () => {
      stop.abort(new Error('the test is over'))
      await bed.close()
    })

    const snapshot = async () => (await bed.kernel.snapshot(scope, stop.signal)).map(printEntry).sort()
    const apply = async (operations: readonly Operation[]) =>
      (await bed.kernel.apply(operations, stop.signal)).map(({ error }) => error?.message ?? 'done')
    const printed = (text: string) => entries(text).map(printEntry).sort()
    const add = async (text: string) => {
      const outcome = await apply(adding(entries(text)))
      expect(outcome.filter(word => word !== 'done')).toEqual([])
    }

    describe('programming', () => {
      test('starts with nothing that is ours', async () => {
        expect(await snapshot()).toEqual([])
      })

      test.each([
        ['IPv4', ipv4],
        ['IPv6', ipv6],
        ['both families', ipv4 + ipv6],
        ['routes elsewhere', elsewhere],
      ])('shows what was added, word for word: %s', async (_, text) => {
        await add(text)
        expect(await snapshot()).toEqual(printed(text))
      })

      test('adds again what is there already', async () => {
        await add(ipv4 + ipv6 + elsewhere)
        await add(ipv4 + ipv6 + elsewhere)
        expect(await snapshot()).toEqual(printed(ipv4 + ipv6 + elsewhere))
      })

      test('replaces under the same key', async () => {
        await add(ipv4 + ipv6)
        const before = new Map(entries(ipv4 + ipv6).map(was => [entryKey(was), was]))
        const replacing = entries(`
          neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:99
          neighbor fd01:2:: dev flannel-v6.1 lladdr 02:00:00:00:00:99
          route 10.1.2.0/24 via 192.168.0.2 dev eth0 proto 117
          route fd01:2::/64 via fd00::2 dev eth0 proto 117 metric 1024`).flatMap((entry): Operation[] => {
          const was = before.get(entryKey(entry))
          return was === undefined ? [] : [{ verb: 'replace', entry, was }]
        })
        expect(await apply(replacing)).toEqual(replacing.map(() => 'done'))
        const all = await snapshot()
        expect(all.filter(text => /^(neighbor|route)/.test(text))).toEqual([
          'neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:99',
          'neighbor fd01:2:: dev flannel-v6.1 lladdr 02:00:00:00:00:99',
          'route 10.1.2.0/24 via 192.168.0.2 dev eth0 proto 117',
          'route fd01:2::/64 via fd00::2 dev eth0 proto 117 metric 1024',
        ])
      })

      test('moves a MAC to another VTEP', async () => {
        await add(ipv4)
        await add('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.7')
        const all = await snapshot()
        expect(all.filter(text => text.startsWith('fdb'))).toEqual([
          'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.7',
        ])
      })

      test('removes what is there, and what is not', async () => {
        await add(ipv4 + ipv6 + elsewhere)
        const all = deleting(entries(ipv4 + ipv6 + elsewhere).reverse())
        expect(await apply(all)).toEqual(all.map(() => 'done'))
        expect(await snapshot()).toEqual([])
        expect(await apply(all)).toEqual(all.map(() => 'done'))
      })

      test('takes with a device what sits on it, and nothing else', async () => {
        await add(ipv4 + ipv6 + elsewhere)
        await apply(deleting([entry(device4)]))
        expect(await snapshot()).toEqual(printed(ipv6 + elsewhere))
      })

      test('tells of each operation in order, and continues after one that is refused', async () => {
        await add(device4)
        const outcome = await apply([
          ...adding([entry('address 10.1.1.0/32 dev flannel.1')]),
          ...adding([entry('address 10.1.9.0/32 dev nowhere')]),
          ...deleting([entry('address 10.1.9.0/32 dev nowhere')]),
          ...adding([entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2')]),
        ])
        expect(outcome).toEqual([
          'done',
          'Cannot add address 10.1.9.0/32 dev nowhere: device nowhere does not exist (ENODEV)',
          'done',
          'done',
        ])
      })

      test.each([
        ['of another program', 'route 10.1.2.0/24 via 192.168.9.8 dev eth1 proto static'],
        ['that an operator added by hand', 'route 10.1.2.0/24 via 192.168.9.8 dev eth1'],
        ['that drops what is sent there', 'route blackhole 10.1.2.0/24 proto static'],
      ])('never replaces a route %s, and says whose it is', async (_, theirs) => {
        await add(device4)
        await bed.meddle(adding([entry(theirs)]))
        const ours = entry('route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink')
        const [said] = await apply(adding([ours]))
        expect(said).toMatch(/^Cannot add route 10\.1\.2\.0\/24 via .*EEXIST/)
        expect(said).toContain(theirs)
        await bed.meddle(deleting([entry(theirs)]))
        expect(await apply(adding([ours]))).toEqual(['done'])
      })

      test.each([
        ['on our own device', 'route 10.1.2.0/24 via 10.1.2.9 dev flannel.1 onlink', ipv4],
        ['that leads the same way', 'route 10.1.3.0/24 via 192.168.0.3 dev eth0', elsewhere],
      ])('takes over what flanneld left %s', async (_, theirs, wanted) => {
        await add(device4)
        await bed.meddle(adding([entry(theirs)]))
        await add(wanted)
        expect(await snapshot()).toEqual(printed(wanted.includes(device4) ? wanted : device4 + wanted))
      })

      test('does not list what is not ours', async () => {
        await add(device4)
        await bed.meddle(adding(entries('route 10.8.0.0/24 via 192.168.9.8 dev eth1')))
        expect(await snapshot()).toEqual([device4])
      })
    })

    describe('telling of changes', () => {
      /** Reads on until what was told, all together, satisfies. */
      const told = async (
        changes: AsyncIterable<KernelChange>,
        enough: (told: Told) => boolean,
      ): Promise<Told> => {
        const sum: Told = { entries: {}, devices: [], everything: [], underlay: false }
        for await (const change of changes) {
          for (const { key, entry } of change.entries)
            sum.entries[key] = entry === undefined ? 'gone' : printEntry(entry)
          sum.devices.push(...change.devices)
          if (change.everything !== undefined) sum.everything.push(change.everything)
          sum.underlay ||= change.underlay
          if (enough(sum)) break
        }
        return sum
      }

      test.each([
        ['an address', 'address 10.1.1.9/32 dev flannel.1'],
        ['an FDB entry', 'fdb 02:00:00:00:00:09 dev flannel.1 dst 192.168.0.9'],
        ['a neighbor', 'neighbor 10.1.9.0 dev flannel.1 lladdr 02:00:00:00:00:09'],
        ['a neighbor, IPv6', 'neighbor fd01:9:: dev flannel-v6.1 lladdr 02:00:00:00:00:09'],
        ['a route', 'route 10.1.9.0/24 via 10.1.9.0 dev flannel.1 onlink'],
        ['a route, IPv6', 'route fd01:9::/64 via fd01:9:: dev flannel-v6.1 metric 1024 onlink'],
        ['one of our routes elsewhere', 'route 10.1.9.0/24 via 192.168.0.9 dev eth0 proto 117'],
        ['one of our blackhole routes', 'route blackhole 10.1.0.0/16 proto 117'],
      ])('tells of %s that another program adds', async (_, text) => {
        await add(ipv4 + ipv6)
        const changes = bed.kernel.changes(scope, stop.signal)
        await bed.meddle(adding([entry(text)]))
        const key = entryKey(entry(text))
        const { entries } = await told(changes, sum => key in sum.entries)
        expect(entries[key]).toBe(text)
      })

      test.each([
        'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2',
        'neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02',
        'neighbor fd01:2:: dev flannel-v6.1 lladdr 02:00:00:00:00:02',
        'route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink',
        'route fd01:2::/64 via fd01:2:: dev flannel-v6.1 metric 1024 onlink',
        'route blackhole 10.1.0.0/16 proto 117',
      ])('tells that another program removes %s', async text => {
        await add(ipv4 + ipv6 + elsewhere)
        const changes = bed.kernel.changes(scope, stop.signal)
        await bed.meddle(deleting([entry(text)]))
        const key = entryKey(entry(text))
        const { entries } = await told(changes, sum => key in sum.entries)
        expect(entries[key]).toBe('gone')
      })

      test('tells that one of our devices was deleted, with what sat on it, and that it came back', async () => {
        await add(ipv4)
        const gone = bed.kernel.changes(scope, stop.signal)
        await bed.meddle(deleting([entry(device4)]))
        const { devices } = await told(gone, sum =>
          sum.devices.some(({ reason }) => reason.includes('deleted')),
        )
        expect(devices.some(({ name, hasDropped }) => name === 'flannel.1' && hasDropped)).toBe(true)

        const back = bed.kernel.changes(scope, stop.signal)
        await bed.meddle(adding([entry(device4)]))
        const { devices: changes } = await told(back, sum => sum.devices.length > 0)
        expect(changes[0]).toMatchObject({ name: 'flannel.1', hasDropped: false })
      })

      test('has told of all operations once it has caught up', async () => {
        await add(device4)
        const seen: string[] = []
        const follow = async () => {
          for await (const change of bed.kernel.changes(scope, stop.signal))
            for (const { key } of change.entries) seen.push(key)
        }
        const following = follow().catch(() => {})
        const some = entries(ipv4).filter(({ kind }) => kind !== 'link')
        await apply(adding(some))
        await bed.kernel.caughtUp(stop.signal)
        expect(new Set(seen)).toEqual(new Set(some.map(entryKey)))
        stop.abort()
        await following
      })

      test('tells the latest of what changed while nothing listened', async () => {
        await add(ipv4)
        const changes = bed.kernel.changes(scope, stop.signal)
        for (const mac of ['02:00:00:00:00:07', '02:00:00:00:00:08', '02:00:00:00:00:09'])
          await bed.meddle(adding([entry(`neighbor 10.1.2.0 dev flannel.1 lladdr ${mac}`)]))
        const { entries } = await told(changes, sum =>
          Object.values(sum.entries).some(text => text.includes('00:09')),
        )
        expect(entries).toEqual({
          'neighbor 10.1.2.0 dev flannel.1': 'neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:09',
        })
      })
    })

    describe('looking again', () => {
      const standing = entries(ipv4 + ipv6 + elsewhere)
      const look = async (last?: string) => await bed.kernel.look(scope, last, stop.signal)
      beforeEach(async () => {
        await apply(adding(standing))
      })

      test('lists the same as a snapshot, and nothing while it stands', async () => {
        const first = await look()
        expect(first.entries?.map(printEntry).sort()).toEqual(await snapshot())
        expect(await look(first.fingerprint)).toEqual({ ...first, entries: undefined })
      })

      test.each([
        'address 10.1.9.0/32 dev flannel.1',
        'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.103',
        'fdb 02:00:00:00:00:03 dev flannel-v6.1 dst fd00::2',
        'neighbor fd01:2:: dev flannel-v6.1 lladdr 02:00:00:00:00:03',
        'route 10.1.4.0/24 via 10.1.2.0 dev flannel.1 onlink',
        'route fd01:3::/64 via fd00::4 dev eth0 proto 117 metric 1024',
      ])('lists all once another program has set %s', async text => {
        const { fingerprint } = await look()
        await bed.meddle(adding([entry(text)]))
        expect((await look(fingerprint)).entries?.map(printEntry)).toContain(text)
      })

      test.each(standing.filter(({ kind }) => kind !== 'link').map(one => ({ one, text: printEntry(one) })))(
        'lists all once another program has removed $text',
        async ({ one, text }) => {
          const { fingerprint } = await look()
          await bed.meddle(deleting([one]))
          const listed = (await look(fingerprint)).entries?.map(printEntry).sort()
          expect(listed).toEqual(await snapshot())
          expect(listed).not.toContain(text)
        },
      )
    })

    describe('stopping', () => {
      const reason = new Error('enough')

      test('rejects with the reason of the signal', async () => {
        const aborted = AbortSignal.abort(reason)
        await expect(bed.kernel.snapshot(scope, aborted)).rejects.toBe(reason)
        await expect(bed.kernel.apply(adding([link(device4)]), aborted)).rejects.toBe(reason)
      })

      test('ends the telling of changes with the reason of the signal', async () => {
        const mine = new AbortController()
        const next = bed.kernel.changes(scope, mine.signal)[Symbol.asyncIterator]().next()
        mine.abort(reason)
        await expect(next).rejects.toBe(reason)
      })
    })
  })
}

interface Told {
  entries: Record<string, string>
  devices: DeviceChange[]
  everything: string[]
  underlay: boolean
}
