import fc from 'fast-check'
import { expect, it } from 'vitest'
import { MultiMap } from '../../../lease/common/multi_map.ts'

it('a map of lists, where a key without values is gone', () => {
  const change = fc.record({ adds: fc.boolean(), key: fc.nat(2), value: fc.constantFrom('a', 'b', 'c') })
  fc.assert(
    fc.property(fc.array(change), changes => {
      const map = new MultiMap<number, string>()
      const lists = new Map<number, string[]>()
      for (const { adds, key, value } of changes) {
        const list = lists.get(key) ?? []
        if (adds) {
          map.add(key, value)
          list.push(value)
        } else {
          map.delete(key, value)
          if (list.includes(value)) list.splice(list.indexOf(value), 1)
        }
        if (list.length > 0) lists.set(key, list)
        else lists.delete(key)
        expect([...map.keys()].sort()).toEqual([...lists.keys()].sort())
        expect(map.size).toBe(lists.size)
        for (const key of [0, 1, 2]) expect(map.get(key)).toEqual(lists.get(key) ?? [])
      }
    }),
  )
})
