import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DesiredState } from '../../../agent/state/desired.ts'
import type { Entry } from '../../../agent/state/entry.ts'
import { entryKey, printEntry } from '../../../agent/state/print.ts'
import { entry } from '../../support/entries.ts'

const toB = entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2')
const toC = entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.3')
const route = entry('route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink')

describe('what the kernel shall hold', () => {
  it('is what its owners want, and each change names the keys that it touches', () => {
    const { state, set } = start()
    expect(set('b', [toB, route])).toEqual([entryKey(toB), entryKey(route)])
    expect(set('b', [route])).toEqual([entryKey(toB), entryKey(route)])
    expect(printed(state)).toEqual([printEntry(route)])
    expect(set('b', [])).toEqual([entryKey(route)])
    expect([printed(state), state.owners('')]).toEqual([[], 0])
  })

  it('names who wants something else of the same key, unless both want the very same', () => {
    const { state, set } = start()
    set('b', [toB])
    expect(state.conflicts('c', [toC, route])).toEqual([{ entry: toC, owner: 'b' }])
    expect(state.conflicts('c', [toB])).toEqual([])
    expect(state.conflicts('b', [toC])).toEqual([])
  })

  it('keeps an entry that two want until the second lets it go, in either order', () => {
    for (const order of [
      ['b', 'c'],
      ['c', 'b'],
    ]) {
      const { state, set } = start()
      set('b', [route])
      set('c', [route])
      set(order[0] ?? '', [])
      expect(printed(state)).toEqual([printEntry(route)])
      expect(
        state.conflicts(order[0] ?? '', [entry('route 10.244.2.0/24 via 10.244.9.0 dev flannel.1 onlink')]),
      ).toMatchObject([{ owner: order[1] }])
      set(order[1] ?? '', [])
      expect(printed(state)).toEqual([])
    }
  })

  it('equals the union of what each owner last wanted, whatever came before', () => {
    const all = [toB, route, entry('neighbor 10.244.2.0 dev flannel.1 lladdr 02:00:00:00:00:02')]
    const step = fc.tuple(fc.constantFrom('b', 'c', 'd'), fc.subarray(all))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), steps => {
        const { state, set } = start()
        const last = new Map<string, readonly Entry[]>()
        for (const [owner, wanted] of steps) {
          set(owner, wanted)
          last.set(owner, wanted)
        }
        const union = new Set([...last.values()].flat().map(printEntry))
        expect(printed(state)).toEqual([...union].sort())
        expect(state.owners('b')).toBe(
          [...last].filter(([owner, wanted]) => owner !== 'b' && wanted.length > 0).length,
        )
      }),
    )
  })
})

function start() {
  const state = new DesiredState()
  const set = (owner: string, wanted: readonly Entry[]) => {
    const touched = new Set<string>()
    state.set(owner, wanted, touched)
    return [...touched]
  }
  return { state, set }
}

function printed(state: DesiredState): readonly string[] {
  return Array.from(state.entries.values(), printEntry).sort()
}
