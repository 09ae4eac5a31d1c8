import { describe, expect, it } from 'vitest'
import { Echoes } from '../../../agent/reconcile/echoes.ts'
import { entryKey } from '../../../agent/state/print.ts'
import { entry } from '../../support/entries.ts'

const at = (n: number) => entry(`neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:0${n}`)
const key = entryKey(at(1))
const gone = undefined

describe('echoes of our own work', () => {
  it('are news where nothing was asked for', () => {
    expect(new Echoes().isOvertaken(key, at(1))).toBe(false)
  })

  it('are no news once we have asked for something else', () => {
    const echoes = new Echoes()
    for (const asked of [at(1), at(2), gone]) echoes.await(key, asked)
    expect([at(1), at(2), gone].map(said => echoes.isOvertaken(key, said))).toEqual([true, true, false])
  })

  it('may be missing in between, where several were folded into one', () => {
    const echoes = new Echoes()
    for (const asked of [at(1), gone, at(2), at(3)]) echoes.await(key, asked)
    expect([at(2), at(3), at(1)].map(said => echoes.isOvertaken(key, said))).toEqual([true, false, false])
  })

  it('do not hide what somebody else does', () => {
    const echoes = new Echoes()
    echoes.await(key, at(1))
    echoes.await(key, at(2))
    expect([at(7), at(1)].map(said => echoes.isOvertaken(key, said))).toEqual([false, false])
  })

  it('that sound alike count as the last one: what comes after is news', () => {
    const echoes = new Echoes()
    for (const asked of [at(1), gone, at(1)]) echoes.await(key, asked)
    expect([at(1), gone].map(said => echoes.isOvertaken(key, said))).toEqual([false, false])
  })

  it('are not waited for where the kernel refused, or where notifications were lost', () => {
    const echoes = new Echoes()
    for (const asked of [at(1), at(2)]) echoes.await(key, asked)
    echoes.forget(key)
    expect(echoes.isOvertaken(key, at(1))).toBe(false)
    for (const asked of [at(1), at(2)]) echoes.await(key, asked)
    echoes.clear()
    expect(echoes.isOvertaken(key, at(1))).toBe(false)
  })
})
