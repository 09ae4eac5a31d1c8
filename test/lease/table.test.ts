import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Lease, type LeaseTableChange, printLease } from '../../lease/lease.ts'
import { type Ip, parseIp } from '../../lease/net/ip.ts'
import { parseNetworkConfig } from '../../lease/network_config/parser.ts'
import { LiveTable, type Reading } from '../../lease/table.ts'
import { vxlanLease } from '../support/leases.ts'

function peer(number: number, mac = 1): Lease {
  const subnet = `10.1.${number}.0/24 at 192.168.0.${number}`
  return vxlanLease(`node-${number}`, `02:00:00:00:00:0${mac}`, subnet)
}

const broken = (number: number, reason = 'is broken') => ({ key: `node-${number}`, reason })

function print({ table, changed, problems }: LeaseTableChange): string {
  const lines = [...table.values()].map(lease => `${lease.node} ${printLease(lease)}`)
  const bad = problems.map(({ key, reason }) => `${key} ${reason}`)
  return [...lines.sort(), `changed ${[...changed].sort().join(' ')}`, ...bad].join('\n')
}

/** Takes values one at a time. */
function taker(live: LiveTable, signal = new AbortController().signal) {
  const values = live.watch(signal)
  return async () => {
    const { value } = await values.next()
    return value as LeaseTableChange
  }
}

/** Whether a promise is still open after all that is due now has run. */
async function isOpen(promise: Promise<unknown>): Promise<boolean> {
  const later = new Promise(resolve => setImmediate(resolve, 'open'))
  return (await Promise.race([promise.catch(() => 'rejected'), later])) === 'open'
}

describe('a live table', () => {
  it('says nothing before the first whole list', async () => {
    const live = new LiveTable(undefined)
    const next = taker(live)()
    live.put(peer(1))
    expect(await isOpen(next)).toBe(true)
    live.list([peer(1), peer(2)])
    expect(print(await next)).toBe(
      'node-1 10.1.1.0/24 at 192.168.0.1\nnode-2 10.1.2.0/24 at 192.168.0.2\nchanged node-1 node-2',
    )
  })

  it('hands out an empty network too', async () => {
    const live = new LiveTable(undefined)
    live.list([])
    expect(print(await taker(live)())).toBe('changed ')
  })

  it('folds what comes faster than it is taken into one value', async () => {
    const live = new LiveTable(undefined)
    live.list([peer(1), peer(2)])
    const next = taker(live)
    await next()
    for (let round = 0; round < 1000; round++) live.put(peer(3, round % 9))
    live.remove('node-1')
    live.put(peer(2))
    expect(print(await next())).toBe(
      'node-2 10.1.2.0/24 at 192.168.0.2\nnode-3 10.1.3.0/24 at 192.168.0.3\nchanged node-1 node-3',
    )
    expect(await isOpen(next())).toBe(true)
  })

  it('compares a whole list with what stood', async () => {
    const live = new LiveTable(undefined)
    live.list([peer(1), peer(2), peer(3)])
    const next = taker(live)
    await next()
    live.list([peer(1), peer(3, 7), peer(4)])
    expect(print(await next())).toMatch(/changed node-2 node-3 node-4$/)
    live.list([peer(1), peer(3, 7), peer(4)])
    expect(await isOpen(next())).toBe(true)
  })

  it('keeps the last good lease of a key whose value is none, and reports it', async () => {
    const live = new LiveTable(undefined)
    live.list([peer(1), broken(2)])
    const next = taker(live)
    expect(print(await next())).toBe('node-1 10.1.1.0/24 at 192.168.0.1\nchanged node-1\nnode-2 is broken')
    live.put(broken(1))
    expect(print(await next())).toBe(
      'node-1 10.1.1.0/24 at 192.168.0.1\nchanged \nnode-2 is broken\nnode-1 is broken',
    )
    live.list([broken(1, 'is broken otherwise')])
    expect(print(await next())).toBe(
      'node-1 10.1.1.0/24 at 192.168.0.1\nchanged \nnode-1 is broken otherwise',
    )
    live.put(peer(1))
    expect(print(await next())).toBe('node-1 10.1.1.0/24 at 192.168.0.1\nchanged ')
    live.put(broken(1))
    live.remove('node-1')
    expect(print(await next())).toBe('changed node-1')
  })

  it('keeps a lease that only loses its backend data, and reports it, but no other lease without', async () => {
    const live = new LiveTable(undefined)
    const without = (lease: Lease, publicIp?: Ip): Lease => ({
      ...lease,
      subnets: lease.subnets.map(subnet => ({
        ...subnet,
        backendData: undefined,
        publicIp: publicIp ?? subnet.publicIp,
      })),
    })
    live.list([peer(1), without(peer(2))])
    live.put(without(peer(1)))
    const next = taker(live)
    const kept = await next()
    expect(kept.table.get('node-1')).toEqual(peer(1))
    expect(kept.problems.map(({ key }) => key)).toEqual(['node-1'])
    live.put(peer(1))
    expect((await next()).problems).toEqual([])
    for (const other of [without(peer(1), parseIp('192.168.0.99')), { ...without(peer(1)), since: 99 }]) {
      live.list([peer(1)])
      live.put(other)
      expect((await next()).table.get('node-1')).toEqual(other)
    }
  })

  it('gives every taker all changes, the late one the whole table', async () => {
    const live = new LiveTable(undefined)
    live.list([peer(1)])
    const first = taker(live)
    await first()
    live.put(peer(2))
    const second = taker(live)
    expect(print(await second())).toMatch(/changed node-1 node-2$/)
    expect(print(await first())).toMatch(/changed node-2$/)
    live.remove('node-1')
    expect(print(await first())).toMatch(/changed node-1$/)
    expect(print(await second())).toMatch(/changed node-1$/)
  })

  it('hands out one table and one list of problems that live on, and never changes what it said of them', async () => {
    const live = new LiveTable(undefined)
    live.list([peer(1), broken(3)])
    const next = taker(live)
    const first = await next()
    live.put(peer(2))
    live.remove('node-3')
    expect(print(first)).toBe(
      'node-1 10.1.1.0/24 at 192.168.0.1\nnode-2 10.1.2.0/24 at 192.168.0.2\nchanged node-1',
    )
    expect((await next()).table).toBe(first.table)
  })

  it('keeps a thousand problems at most', async () => {
    const live = new LiveTable(undefined)
    live.list([peer(1)])
    for (let n = 0; n < 5_000; n++) live.put({ key: `key-${n}`, reason: 'it is no lease' })
    expect(live.problems).toHaveLength(1_000)
    live.remove('key-0')
    live.put({ key: 'key-5000', reason: 'it is no lease' })
    expect(live.problems.at(-1)?.key).toBe('key-5000')
  })

  it('keeps a thousand leases outside of the network at most, and forgets none inside for them', async () => {
    const live = new LiveTable(parseNetworkConfig('{"Network":"10.1.0.0/16"}'))
    const outside = (n: number, network = '10.2') =>
      vxlanLease(`out-${n}`, '02:00:00:00:00:01', `${network}.${n >> 7}.${(n & 127) * 2}/31 at 192.168.0.9`)
    live.list([peer(1), ...Array.from({ length: 3_000 }, (_, n) => outside(n))])
    const next = taker(live)
    expect((await next()).table.size).toBe(1_001)
    live.put(outside(2_999))
    expect(await isOpen(next())).toBe(true)
    live.remove('out-0')
    live.put(outside(2_999))
    live.put(outside(1, '10.1'))
    live.put(outside(3_000))
    expect([...live.table.keys()].slice(-3)).toEqual(['out-999', 'out-2999', 'out-3000'])
    live.put(peer(2))
    expect(live.table.get('node-2')).toEqual(peer(2))
  })

  it('copies nothing: a change among 20,000 leases is told by its key and the one table', async () => {
    const live = new LiveTable(undefined)
    live.list(Array.from({ length: 20_000 }, (_, n) => ({ ...peer(1), node: `node-${n}` })))
    const next = taker(live)
    await next()
    for (let n = 0; n < 10; n++) {
      live.put(peer(1, n % 2))
      const { table, changed } = await next()
      expect(table).toBe(live.table)
      expect([...changed]).toEqual(['node-1'])
    }
  })

  it('ends a watch with the signal’s reason, waiting or not', async () => {
    const live = new LiveTable(undefined)
    live.list([])
    const abort = new AbortController()
    const next = taker(live, abort.signal)
    await next()
    const waiting = next()
    abort.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    await expect(taker(live, abort.signal)()).rejects.toThrow('enough')
  })

  it('ends every watch with the error that ends the store', async () => {
    const live = new LiveTable(undefined)
    const waiting = taker(live)()
    live.fail(new Error('no such store'))
    await expect(waiting).rejects.toThrow('no such store')
    await expect(taker(live)()).rejects.toThrow('no such store')
  })

  it('adds up to the same table for a taker that follows the changed keys', async () => {
    const reading: fc.Arbitrary<Reading> = fc
      .tuple(fc.integer({ min: 1, max: 5 }), fc.nat(2), fc.boolean())
      .map(([number, mac, good]) => (good ? peer(number, mac) : broken(number)))
    const event = fc.oneof(
      fc.record({ put: reading }),
      fc.record({ remove: fc.integer({ min: 1, max: 5 }) }),
      fc.record({ list: fc.uniqueArray(reading, { selector: it => ('key' in it ? it.key : it.node) }) }),
      fc.constant('take' as const),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 30 }), async events => {
        const live = new LiveTable(undefined)
        live.list([])
        const next = taker(live)
        await next()
        const followed = new Map<string, Lease>()
        const follow = async () => {
          const { table, changed } = await next()
          for (const node of changed) {
            const lease = table.get(node)
            if (lease === undefined) followed.delete(node)
            else followed.set(node, lease)
          }
          expect(new Map([...followed].sort())).toEqual(new Map([...table].sort()))
        }
        for (const it of events) {
          if (it === 'take') {
            live.put(peer(9, followed.size))
            live.put(peer(9, followed.size + 1))
            await follow()
          } else if ('put' in it) live.put(it.put)
          else if ('remove' in it) live.remove(`node-${it.remove}`)
          else live.list(it.list)
        }
      }),
    )
  })
})
