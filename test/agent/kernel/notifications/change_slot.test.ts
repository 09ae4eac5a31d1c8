import { describe, expect, it } from 'vitest'
import { ChangeSlot } from '../../../../agent/kernel/notifications/change_slot.ts'
import { entry } from '../../../support/entries.ts'

const never = new AbortController().signal
const route = entry('route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink')
const fdb = entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2')
const key = 'fdb 02:00:00:00:00:02 dev flannel.1'

describe('a slot for what the kernel says', () => {
  it('keeps the latest state of each key, and what one turn brings comes together', async () => {
    const slot = new ChangeSlot()
    const taken = slot.take(never)
    slot.gone(fdb)
    slot.present(route)
    slot.present(fdb)
    const { entries } = await taken
    expect(entries.map(({ entry }) => entry)).toEqual([fdb, route])
    slot.gone(fdb)
    expect((await slot.take(never)).entries).toEqual([{ key, entry: undefined }])
  })

  it('forgets single changes once all is to be looked at, and names the first reasons and the latest', async () => {
    const slot = new ChangeSlot()
    slot.present(route)
    for (const reason of ['a', 'b', 'b', 'c', 'd', 'e']) slot.everything(reason)
    slot.present(fdb)
    expect(await slot.take(never)).toMatchObject({ entries: [], everything: 'a; b; c; e' })
    expect(slot.isFilled).toBe(false)
  })

  it('asks for a look at all where more changed than that costs', async () => {
    const slot = new ChangeSlot()
    for (let i = 0; i <= 20_000; i++)
      slot.present(
        entry(`route 10.${i >> 16}.${(i >> 8) & 255}.${i & 255} via 10.244.2.0 dev flannel.1 onlink`),
      )
    const { entries, everything } = await slot.take(never)
    expect([entries.length, everything]).toEqual([0, 'more than 20000 entries changed at once'])
  })

  it('tells of devices with all that they did, and whether the kernel dropped entries with that', async () => {
    const slot = new ChangeSlot()
    slot.device('flannel.1', 'was set down', true)
    slot.device('flannel.1', 'was set up', false)
    slot.underlay()
    expect(await slot.take(never)).toMatchObject({
      devices: [
        {
          name: 'flannel.1',
          reason: 'device flannel.1 was set down; device flannel.1 was set up',
          hasDropped: true,
        },
      ],
      underlay: true,
    })
  })

  it('tells that a device changed before the turn brings the rest, but not where the latest word counts alone', async () => {
    const slot = new ChangeSlot()
    const isToldAfterTheTurn = async () => {
      let isTurnOver = false
      setImmediate(() => {
        isTurnOver = true
      })
      const taken = slot.take(never)
      slot.gone(route)
      await Promise.resolve()
      slot.device('flannel.1', 'was set down', true)
      const { entries, devices } = await taken
      expect([entries.length, devices.length]).toEqual([1, 1])
      return isTurnOver
    }
    expect(await isToldAfterTheTurn()).toBe(false)
    slot.mayHurry = false
    expect(await isToldAfterTheTurn()).toBe(true)
    slot.mayHurry = true
    expect(await isToldAfterTheTurn()).toBe(false)
  })

  it('fails whatever takes next, with the first failure, and waits no longer than the signal', async () => {
    const slot = new ChangeSlot()
    const stop = new AbortController()
    const taken = slot.take(stop.signal)
    stop.abort('enough')
    await expect(taken).rejects.toBe('enough')
    slot.fail(new Error('first'))
    slot.fail(new Error('second'))
    await expect(slot.take(never)).rejects.toThrow('first')
  })
})
