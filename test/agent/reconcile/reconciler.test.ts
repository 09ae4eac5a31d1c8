import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { entryKey, printEntry } from '../../../agent/state/print.ts'
import { entry } from '../../support/entries.ts'
import { ReconcileLoop, stopTheClock } from '../../support/reconcile_loop.ts'

const device =
  'link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning'
const address = 'address 10.1.1.0/32 dev flannel.1'
const fdb = 'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2'
const neighbor = 'neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02'
const route = 'route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink'
const direct = 'route 10.1.3.0/24 via 192.168.0.3 dev eth0 proto 117'
const all = [device, address, fdb, neighbor, route, direct]
const keyOf = (text: string) => entryKey(entry(text))

describe('the reconcile loop', () => {
  let loop: ReconcileLoop
  beforeEach(() => {
    stopTheClock()
    loop = new ReconcileLoop()
  })
  afterEach(async () => {
    await loop.stop()
    vi.useRealTimers()
  })

  const programmed = async () => {
    loop.want(all.join('\n'))
    await loop.start()
    loop.asked()
    loop.drift()
  }

  it('tells how long a round hangs that the kernel does not answer, and that it has ended', async () => {
    await programmed()
    expect(loop.reconciler.roundMs).toBe(0)
    const { apply } = loop.kernel
    let answer: () => void = () => {}
    loop.kernel.apply = async (...request: Parameters<typeof apply>) => {
      await new Promise<void>(resolve => {
        answer = resolve
      })
      return await apply.apply(loop.kernel, request)
    }
    loop.want('fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4')
    await loop.settle(70_000)
    expect(loop.reconciler.roundMs).toBe(70_000)
    answer()
    await loop.settle()
    expect(loop.reconciler.roundMs).toBe(0)
  })

  describe('programming', () => {
    it('puts devices first and routes last, and calls none of it drift', async () => {
      loop.want([direct, route, neighbor, fdb, address, device].join('\n'))
      await loop.start()
      expect(loop.asked()).toEqual([device, address, fdb, neighbor, direct, route].map(text => `add ${text}`))
      expect(loop.drift()).toEqual([])
    })

    it('touches nothing that stands already', async () => {
      for (const text of all) loop.kernel.put(entry(text))
      loop.want(all.join('\n'))
      await loop.start()
      expect(loop.asked()).toEqual([])
    })

    it('removes at its start what is stale, routes first', async () => {
      for (const text of all) loop.kernel.put(entry(text))
      loop.want([device, address].join('\n'))
      await loop.start()
      expect(loop.asked()).toEqual([direct, route, neighbor, fdb].map(text => `delete ${text}`))
      expect(loop.drift()).toEqual([])
    })

    it('costs what changes, not what exists', async () => {
      await programmed()
      const { snapshots } = loop.kernel
      loop.want('fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4')
      await loop.settle()
      loop.unwant(keyOf(route))
      await loop.settle()
      expect(loop.asked()).toEqual([
        'add fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4',
        `delete ${route}`,
      ])
      expect([loop.kernel.snapshots, loop.drift()]).toEqual([snapshots, []])
    })

    it('recreates a device and puts back what sat on it, without removing any of it one by one', async () => {
      await programmed()
      loop.want(device.replace('local 192.168.0.1', 'local 192.168.0.9'))
      loop.reconciler.requestFullPass('this node has moved')
      await loop.settle()
      expect(loop.asked()).toEqual([
        `replace ${device.replace('local 192.168.0.1', 'local 192.168.0.9')}`,
        ...[address, fdb, neighbor, route].map(text => `add ${text}`),
      ])
    })

    it('mends a device whose key alone is dirty, without a full pass', async () => {
      await programmed()
      const { snapshots } = loop.kernel
      loop.want(device.replace('address 02:00:00:00:00:01', 'address 02:00:00:00:00:09'))
      await loop.settle()
      expect([loop.kernel.print(), loop.drift()]).toEqual([loop.wanted(), []])
      expect(loop.kernel.snapshots).toBe(snapshots)
    })

    it('leaves what sits on a device alone when its MTU changes', async () => {
      await programmed()
      loop.want(device.replace('1450', '1400'))
      loop.reconciler.requestFullPass('the underlay has changed')
      await loop.settle()
      expect(loop.asked()).toEqual([`replace ${device.replace('1450', '1400')}`])
    })
  })

  describe('mending what another program changes', () => {
    it.each([address, fdb, neighbor, route, direct])('puts back %s', async text => {
      await programmed()
      loop.kernel.remove(keyOf(text))
      await loop.settle()
      expect(loop.asked()).toEqual([`add ${text}`])
      expect(loop.drift()).toEqual([`add ${text}`])
    })

    it('puts right, and removes, what others put there', async () => {
      await programmed()
      loop.kernel.put(entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.99'))
      loop.kernel.put(entry('route 10.1.77.0/24 via 10.1.77.0 dev flannel.1 onlink'))
      await loop.settle()
      expect(loop.asked()).toEqual([
        `replace ${fdb}`,
        'delete route 10.1.77.0/24 via 10.1.77.0 dev flannel.1 onlink',
      ])
    })

    it('puts back a device with all that sat on it', async () => {
      await programmed()
      loop.kernel.remove('link flannel.1')
      await loop.settle()
      expect(loop.kernel.print()).toEqual(loop.wanted())
      expect(loop.reconciler.attempts.contested.size).toBe(0)
    })

    it('sees a change that comes while it looks', async () => {
      await programmed()
      let meddled = false
      loop.kernel.hook = act => {
        if (act !== 'snapshot' || meddled) return
        meddled = true
        loop.kernel.remove(keyOf(route))
        loop.kernel.put(entry('neighbor 10.1.77.0 dev flannel.1 lladdr 02:00:00:00:00:77'))
      }
      loop.reconciler.requestFullPass('resync')
      await loop.settle()
      expect(loop.kernel.print()).toEqual(loop.wanted())
    })

    it('sees a change that comes while it applies', async () => {
      await programmed()
      let meddled = false
      loop.kernel.hook = act => {
        if (act !== 'apply' || meddled) return
        meddled = true
        loop.kernel.remove(keyOf(neighbor))
      }
      loop.kernel.remove(keyOf(route))
      await loop.settle()
      expect(loop.kernel.print()).toEqual(loop.wanted())
    })

    it('sees that its own work is undone at once', async () => {
      await programmed()
      const apply = loop.kernel.apply.bind(loop.kernel)
      let undone = false
      loop.kernel.apply = async (operations, signal) => {
        const results = await apply(operations, signal)
        if (!undone) loop.kernel.remove(keyOf(route))
        undone = true
        return results
      }
      loop.kernel.remove(keyOf(route))
      await loop.settle()
      expect(loop.kernel.print()).toEqual(loop.wanted())
    })
  })

  describe('hearing wrong', () => {
    it('finds at the next full pass what it was not told of', async () => {
      await programmed()
      loop.kernel.entries.delete(keyOf(route))
      await loop.settle(60_000)
      expect(loop.asked()).toEqual([])
      await loop.settle(3_600_000)
      expect(loop.asked()).toEqual([`add ${route}`])
      expect(loop.drift()).toEqual([`add ${route}`])
    })

    it('looks at everything once notifications were lost', async () => {
      await programmed()
      loop.kernel.entries.delete(keyOf(route))
      loop.kernel.overflow()
      await loop.settle()
      expect(loop.asked()).toEqual([`add ${route}`])
    })

    it('does nothing for what it is told twice', async () => {
      await programmed()
      for (let i = 0; i < 3; i++)
        loop.reconciler.observe({
          entries: [{ key: keyOf(route), entry: entry(route) }],
          devices: [],
          everything: undefined,
          underlay: false,
        })
      await loop.settle()
      expect(loop.asked()).toEqual([])
    })

    it('ends right though it was told of an old state', async () => {
      await programmed()
      const say = (text: string | undefined) =>
        loop.reconciler.observe({
          entries: [{ key: keyOf(route), entry: text === undefined ? undefined : entry(text) }],
          devices: [],
          everything: undefined,
          underlay: false,
        })
      say(undefined)
      say('route 10.1.2.0/24 via 192.168.0.99 dev eth0 proto 117')
      await loop.settle()
      expect(loop.kernel.print()).toEqual(loop.wanted())
    })

    it('takes the word on its own older changes for no damage, and waits for no end of them', async () => {
      await programmed()
      const fdbs = (dst: number) =>
        Array.from(
          { length: 20 },
          (_, i) => `fdb 02:00:00:00:01:${i + 10} dev flannel.1 dst 192.168.1.${dst}`,
        )
      let applies = 0
      // The peers change their addresses while the kernel takes the former ones.
      loop.kernel.hook = act => {
        if (act === 'apply' && ++applies === 1) loop.want(fdbs(2).join('\n'))
      }
      loop.want(fdbs(1).join('\n'))
      await loop.settle()
      expect(loop.kernel.print()).toEqual(loop.wanted())
      expect(applies).toBe(2)
    })

    it('keeps its first pass the first one, and so calls nothing drift, whatever is said before', async () => {
      loop.want(all.join('\n'))
      loop.reconciler.observe({ entries: [], devices: [], everything: 'an overflow', underlay: false })
      loop.reconciler.requestFullPass('the underlay has changed')
      await loop.start()
      expect(loop.rounds.map(({ fullPass }) => fullPass)).toContain('start')
      expect(loop.drift()).toEqual([])
    })
  })

  describe('what the kernel refuses', () => {
    it('is tried again with back-off and holds up no other', async () => {
      loop.kernel.refuse(keyOf(direct))
      await programmed()
      expect(loop.kernel.print()).toEqual(loop.wanted().filter(text => text !== direct))
      expect([...loop.reconciler.attempts.refused.keys()]).toEqual([keyOf(direct)])

      loop.want('fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4')
      await loop.settle()
      expect(loop.asked()).toEqual(['add fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4'])
      const triesAfterMs: number[] = []
      for (let ms = 0; ms < 7_000; ms += 50) {
        await loop.settle(50)
        if (loop.asked().length > 0) triesAfterMs.push(ms + 50)
      }
      expect(triesAfterMs).toEqual([100, 300, 700, 1_500, 3_100, 6_300])
    })

    it('is programmed once the cause is gone, and is no drift then', async () => {
      loop.kernel.refuse(keyOf(direct))
      await programmed()
      loop.kernel.accept(keyOf(direct))
      await loop.settle(30_000)
      expect(loop.kernel.print()).toEqual(loop.wanted())
      expect(loop.reconciler.attempts.refused.size).toBe(0)
      expect(loop.drift()).toEqual([])
    })

    it('is tried at once when something has changed that it may depend on', async () => {
      loop.kernel.refuse(keyOf(direct))
      await programmed()
      await loop.settle(20_000)
      loop.asked()
      loop.kernel.accept(keyOf(direct))
      loop.reconciler.retryFailing()
      await loop.settle()
      expect(loop.asked()).toEqual([`add ${direct}`])
    })

    it('is forgotten once it is no longer desired', async () => {
      loop.kernel.refuse(keyOf(direct))
      await programmed()
      loop.unwant(keyOf(direct))
      await loop.settle(60_000)
      expect(loop.asked()).toEqual([])
      expect(loop.reconciler.attempts.refused.size).toBe(0)
    })

    it('is one device, and not all that would sit on it: none of that is tried', async () => {
      loop.kernel.refuse('link flannel.1')
      loop.want(all.join('\n'))
      await loop.start()
      expect(loop.asked()).toEqual([`add ${device}`, `add ${direct}`])
      expect([...loop.reconciler.attempts.refused.keys()]).toEqual(['link flannel.1'])
    })

    it('is, as a device, tried every second at least, and brings all with it when it comes', async () => {
      loop.kernel.refuse('link flannel.1')
      loop.want(all.join('\n'))
      await loop.start()
      await loop.settle(60_000)
      loop.asked()
      loop.drift()
      loop.kernel.accept('link flannel.1')
      await loop.settle(1_000)
      expect(loop.kernel.print()).toEqual(loop.wanted())
      expect(loop.drift()).toEqual([])
    })

    it('is not what fails because its device is deleted meanwhile: all comes back with the device', async () => {
      await programmed()
      loop.kernel.hook = act => {
        if (act !== 'apply' || !loop.kernel.entries.has('link flannel.1')) return
        loop.kernel.hook = () => {}
        loop.kernel.remove('link flannel.1')
      }
      loop.kernel.remove(keyOf(neighbor))
      await loop.settle()
      expect(loop.kernel.print()).toEqual(loop.wanted())
      expect(
        loop.rounds.flatMap(({ results }) => results.flatMap(({ error }) => error?.message ?? [])),
      ).toEqual([])
    })

    it("is a device's MTU: peers come and go all the same", async () => {
      await programmed()
      loop.kernel.refuse('link flannel.1')
      loop.want(device.replace('1450', '1400'))
      loop.reconciler.requestFullPass('the underlay has changed')
      await loop.settle()
      loop.asked()
      loop.want('fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4')
      loop.unwant(keyOf(route))
      await loop.settle()
      expect(loop.asked()).toEqual([
        'add fdb 02:00:00:00:00:04 dev flannel.1 dst 192.168.0.4',
        `delete ${route}`,
      ])
    })

    it("is a device's MAC: what the kernel flushed meanwhile is put back, and nothing else", async () => {
      await programmed()
      loop.kernel.refuse('link flannel.1')
      loop.kernel.put(entry(device.replace('02:00:00:00:00:01', '02:ff:00:00:00:01')))
      await loop.settle()
      loop.asked()
      loop.kernel.remove(keyOf(neighbor))
      await loop.settle()
      expect(loop.asked()).toEqual([`add ${neighbor}`])
    })
  })

  describe('what another program keeps undoing', () => {
    it('is put back at once, later with back-off of at most 1 s, and named', async () => {
      await programmed()
      const repairedAtMs: number[] = []
      for (let ms = 0; ms < 20_000; ms += 100) {
        loop.kernel.remove(keyOf(route))
        await loop.settle(100)
        if (loop.asked().length > 0) repairedAtMs.push(ms)
      }
      expect(repairedAtMs.slice(0, 25)).toEqual(Array.from({ length: 25 }, (_, i) => i * 100))
      const gaps = repairedAtMs.slice(1).map((ms, i) => ms - (repairedAtMs[i] ?? 0))
      expect(Math.max(...gaps)).toBeLessThanOrEqual(1_100)
      expect(gaps.slice(-10).every(ms => ms >= 1_000)).toBe(true)
      expect([...loop.reconciler.attempts.contested.values()].map(({ keys }) => [...keys])).toEqual([
        [keyOf(route)],
      ])
    })

    it('is a device, twenty times in a row: all stands again at once each time, and nothing on it is contested', async () => {
      await programmed()
      for (let i = 0; i < 20; i++) {
        loop.kernel.put(entry(device.replace('UP', 'DOWN')))
        // As the kernel does it, without a word.
        for (const text of [route, neighbor]) loop.kernel.entries.delete(keyOf(text))
        await loop.settle(300)
        expect(loop.kernel.print()).toEqual(loop.wanted())
      }
      expect([...loop.reconciler.attempts.contested.keys()]).toEqual(['link flannel.1'])
    })

    it('stands again once they leave it alone, and is forgiven then', async () => {
      loop = new ReconcileLoop({ resyncMs: 5_000 })
      await programmed()
      for (let i = 0; i < 10; i++) {
        loop.kernel.remove(keyOf(route))
        await loop.settle(50)
      }
      await loop.settle(60_000)
      expect(loop.kernel.print()).toEqual(loop.wanted())
      expect(loop.reconciler.attempts.contested.size).toBe(0)
    })

    it('still waits when a device is mended that it does not sit on', async () => {
      loop.kernel.refuse(keyOf(direct))
      await programmed()
      await loop.settle(1_000)
      loop.asked()
      loop.kernel.remove('link flannel.1')
      await loop.settle()
      expect(loop.asked()).toEqual([device, address, fdb, neighbor, route].map(text => `add ${text}`))
    })

    it('holds up no other', async () => {
      await programmed()
      for (let i = 0; i < 10; i++) {
        loop.kernel.remove(keyOf(route))
        await loop.settle(10)
      }
      loop.asked()
      loop.kernel.remove(keyOf(fdb))
      await loop.settle()
      expect(loop.asked()).toEqual([`add ${fdb}`])
    })

    it('is a device: what sits on it stands while its MAC is contested', async () => {
      await programmed()
      const theirs = entry(device.replace('02:00:00:00:00:01', '02:ff:00:00:00:01'))
      for (let i = 0; i < 100; i++) {
        loop.kernel.put(theirs)
        loop.kernel.remove(keyOf(neighbor))
        await loop.settle(50)
      }
      // A full pass a second is what is left of the budget by now.
      loop.kernel.put(theirs)
      await loop.settle(1_000)
      expect(loop.kernel.print()).toEqual(
        expect.arrayContaining(loop.wanted().filter(text => text !== device)),
      )
      expect([...loop.reconciler.attempts.contested.keys()]).toContain('link flannel.1')
    })
  })

  describe('full passes', () => {
    it('come by the clock', async () => {
      loop = new ReconcileLoop({ resyncMs: 60_000 })
      await programmed()
      const { snapshots } = loop.kernel
      await loop.settle(600_000)
      expect(loop.kernel.snapshots - snapshots).toBe(10)
    })

    it('are not made more often than the budget has it, though a device flaps without end', async () => {
      await programmed()
      const { snapshots } = loop.kernel
      for (let ms = 0; ms < 20_000; ms += 20) {
        loop.reconciler.requestFullPass('device flannel.1 was set up')
        await loop.settle(20)
      }
      expect(loop.kernel.snapshots - snapshots).toBeLessThanOrEqual(25)
    })

    it('that have to wait hold up no change', async () => {
      await programmed()
      for (let i = 0; i < 10; i++) {
        loop.reconciler.requestFullPass('device flannel.1 was set up')
        await loop.settle()
      }
      const { snapshots } = loop.kernel
      loop.kernel.remove(keyOf(route))
      await loop.settle()
      expect([loop.asked(), loop.kernel.snapshots]).toEqual([[`add ${route}`], snapshots])
    })
  })

  it('never holds anything foreign: it asks the kernel for what is in its scope alone', async () => {
    loop.kernel.put(entry('route 10.9.0.0/16 via 192.168.0.9 dev eth0'))
    loop.kernel.put(entry('neighbor 192.168.0.9 dev eth0 lladdr 02:00:00:00:00:09'))
    await programmed()
    loop.unwant(...all.map(keyOf))
    await loop.settle()
    expect(loop.kernel.print()).toEqual([
      printEntry(entry('neighbor 192.168.0.9 dev eth0 lladdr 02:00:00:00:00:09')),
      printEntry(entry('route 10.9.0.0/16 via 192.168.0.9 dev eth0')),
    ])
  })

  it('ends with the error where the kernel itself fails', async () => {
    loop.kernel.hook = () => {
      throw new Error('the netlink socket was closed')
    }
    await expect(loop.reconciler.run(new AbortController().signal)).rejects.toThrow('netlink socket')
  })
})
