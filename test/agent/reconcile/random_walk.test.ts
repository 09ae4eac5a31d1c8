import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { entryKey, printEntry } from '../../../agent/state/print.ts'
import { entries, entry } from '../../support/entries.ts'
import { ReconcileLoop, scope, stopTheClock } from '../../support/reconcile_loop.ts'

const devices = ['flannel.1', 'flannel-v6.1'] as const
const deviceAt = (name: string, mac: string, local: string) =>
  `link ${name} mtu 1450 state UP address ${mac} vxlan id 1 local ${local} dev eth0 dstport 8472 nolearning`
const peerEntries = (n: number, dev: string, host: number) => [
  `fdb 02:00:00:00:00:0${n} dev ${dev} dst 192.168.0.${host}`,
  `neighbor 10.1.${n}.0 dev ${dev} lladdr 02:00:00:00:00:0${n}`,
  n % 2 === 0
    ? `route 10.1.${n}.0/24 via 10.1.${n}.0 dev ${dev} onlink`
    : `route 10.1.${n}.0/24 via 192.168.0.${host} dev eth0 proto 117`,
]
const foreign = entries(`
  route 10.9.0.0/16 via 192.168.0.9 dev eth0
  route blackhole 10.8.0.0/16 proto static
  address 192.168.0.1/24 dev eth0
  neighbor 192.168.0.9 dev eth0 lladdr 02:00:00:00:00:09
  link vxlan7 mtu 1450 state UP address 02:00:00:00:00:77 vxlan id 7 local 192.168.0.1 dev eth0 dstport 8472 learning
  fdb 02:00:00:00:00:09 dev vxlan7 dst 192.168.0.9`)

const peer = fc.integer({ min: 2, max: 6 })
const host = fc.integer({ min: 2, max: 9 })
const dev = fc.constantFrom(...devices)
const text = fc.tuple(peer, dev, host, fc.nat(2)).map(([n, on, at, i]) => peerEntries(n, on, at)[i] ?? '')

const everyText = [2, 3, 4, 5, 6].flatMap(n => devices.flatMap(on => peerEntries(n, on, 2)))

type Step = (loop: ReconcileLoop) => void | Promise<void>
const named = (name: string, step: Step) => Object.assign(step, { toString: () => name })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(peer, dev, host).map(([n, on, at]) =>
    named(`peer ${n} joins on ${on} at ${at}`, loop => {
      leave(loop, n)
      loop.want(peerEntries(n, on, at).join('\n'))
    }),
  ),
  peer.map(n => named(`peer ${n} leaves`, loop => leave(loop, n))),
  dev.map(name =>
    named(`our ${name} moves`, loop => {
      loop.want(deviceAt(name, `02:00:00:00:01:0${devices.indexOf(name)}`, '192.168.0.3'))
      loop.reconciler.requestFullPass('the underlay has changed')
    }),
  ),
  text.map(line => named(`another program puts ${line}`, ({ kernel }) => kernel.put(entry(line)))),
  text.map(line =>
    named(`another program removes ${line}`, ({ kernel }) => kernel.remove(entryKey(entry(line)))),
  ),
  dev.map(name => named(`another program deletes ${name}`, ({ kernel }) => kernel.remove(`link ${name}`))),
  dev.map(name =>
    named(`another program changes ${name}`, ({ kernel }) =>
      kernel.put(entry(deviceAt(name, '02:ff:00:00:00:01', '192.168.0.8'))),
    ),
  ),
  text.map(line =>
    named(`a change goes unheard: ${line}`, ({ kernel }) => {
      kernel.entries.delete(entryKey(entry(line)))
      kernel.overflow()
    }),
  ),
  text.map(line => named(`the kernel refuses ${line}`, ({ kernel }) => kernel.refuse(entryKey(entry(line))))),
  text.map(line => named(`the kernel accepts ${line}`, ({ kernel }) => kernel.accept(entryKey(entry(line))))),
  fc.nat(200).map(ms => named(`${ms} ms pass`, loop => loop.settle(ms))),
)

function leave(loop: ReconcileLoop, n: number): void {
  const keys = [...loop.desired.keys()].filter(key => key.includes(`10.1.${n}.`) || key.includes(`:0${n} `))
  loop.unwant(...keys)
}

describe('the reconcile loop, whatever comes', () => {
  beforeEach(() => stopTheClock())
  afterEach(() => vi.useRealTimers())

  it('ends with what is desired, and never touches what is foreign', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
        const loop = new ReconcileLoop({ resyncMs: 60_000 })
        for (const one of foreign) loop.kernel.put(one)
        loop.want(devices.map((name, i) => deviceAt(name, `02:00:00:00:01:0${i}`, '192.168.0.1')).join('\n'))
        try {
          await loop.start()
          for (const act of steps) await act(loop)
          for (const line of everyText) loop.kernel.accept(entryKey(entry(line)))
          await loop.settle()
          // In steps: a retry that a pass leaves needs time too.
          for (let i = 0; i < 4; i++) await loop.settle(30_000)
          const ours = await loop.kernel.snapshot(scope, new AbortController().signal)
          expect(ours.map(printEntry).sort()).toEqual(loop.wanted())
          expect(loop.kernel.print()).toEqual(expect.arrayContaining(foreign.map(printEntry)))
          expect(
            loop.kernel.log.filter(line => /vxlan7|10\.9\.|10\.8\.|192\.168\.0\.1\/24/.test(line)),
          ).toEqual([])
        } finally {
          await loop.stop()
        }
      }),
      { numRuns: 150 },
    )
  })
})
