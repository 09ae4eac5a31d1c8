import { beforeEach, expect, test } from 'vitest'
import { ActualState } from '../../../agent/reconcile/actual_state.ts'
import type { Entry } from '../../../agent/state/entry.ts'
import { entryKey } from '../../../agent/state/print.ts'
import { entries, entry } from '../../support/entries.ts'
import { FakeKernel } from '../../support/fake_kernel.ts'

const scope = { devices: ['flannel.1'], routeProtocol: 117 }
const signal = new AbortController().signal
const fdb = entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2')
const moved = entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.3')
const neighbor = entry('neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02')

let kernel: FakeKernel
let desired: Map<string, Entry>
let actual: ActualState
/** Whether each look was told to compare, in order. */
let compared: boolean[]
const read = () =>
  actual.read(last => {
    compared.push(last !== undefined)
    return kernel.look(scope, last, signal)
  })

beforeEach(async () => {
  kernel = new FakeKernel()
  const standing = entries(`
    link flannel.1 mtu 1450 state UP address 02:00:00:00:00:01 vxlan id 1 local 192.168.0.1 dev eth0 dstport 8472 nolearning
    fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2
    neighbor 10.1.2.0 dev flannel.1 lladdr 02:00:00:00:00:02`)
  for (const one of standing) kernel.put(one)
  desired = new Map([fdb, neighbor].map(one => [entryKey(one), one]))
  actual = new ActualState(desired)
  compared = []
  await read()
})

test('a look compares with the last one while all that is known stands', async () => {
  actual.announce(entryKey(fdb), entry('fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2'))
  await read()
  await read()
  expect(compared).toEqual([false, true, true])
  expect(actual.wrongKeys()).toEqual(new Set())
})

test('a change without a word is found by a look that compares', async () => {
  await read()
  kernel.put(moved)
  await read()
  expect(compared).toEqual([false, true, true])
  expect(actual.wrongKeys()).toEqual(new Set([entryKey(fdb)]))
})

test('a look lists all after an announcement, an operation, and what the kernel dropped', async () => {
  actual.announce(entryKey(fdb), moved)
  await read()
  await actual.apply([{ verb: 'replace', entry: fdb, was: moved }], kernel, signal)
  await read()
  await actual.apply([{ verb: 'delete', entry: neighbor }], kernel, signal)
  await read()
  actual.assumeDropped('flannel.1', new Set(['fdb']))
  await read()
  actual.assumeEmpty('flannel.1')
  await read()
  await read()
  expect(compared).toEqual([false, false, true, false, false, false, true])
})

test('another desired entry is seen as missing by a look that finds the kernel unchanged', async () => {
  desired.set(entryKey(fdb), moved)
  await read()
  expect(compared).toEqual([false, true])
  expect(actual.wrongKeys()).toEqual(new Set([entryKey(fdb)]))
  desired.set(entryKey(fdb), { ...fdb } as Entry)
  await read()
  expect(compared).toEqual([false, true, true])
  expect(actual.wrongKeys()).toEqual(new Set())
})

test('a device that is empty says nothing about an entry of the same key on another one', async () => {
  const [standing, wanted] = entries(`
    route 10.1.2.0/24 via 192.168.0.2 dev eth0 proto 117
    route 10.1.2.0/24 via 10.1.2.0 dev flannel.1 onlink`) as [Entry, Entry]
  kernel.put(standing)
  await read()
  desired.set(entryKey(wanted), wanted)
  expect(actual.assumeEmpty('flannel.1')).toContain(entryKey(wanted))
  expect(actual.assumeDropped('flannel.1', new Set(['route']))).toContain(entryKey(wanted))
  expect(actual.entries.get(entryKey(wanted))).toEqual(standing)
})
