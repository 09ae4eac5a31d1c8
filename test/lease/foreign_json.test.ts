import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JsonError, parseFields, parseJson, printJson } from '../../lease/json/json.ts'
import { annotationNames, publishedPodCidrs, readLease } from '../../lease/kubernetes/nodes/annotations.ts'
import { Annotations, readNode, writerOf } from '../../lease/kubernetes/nodes/node_object.ts'
import type { LeaseTable } from '../../lease/lease.ts'
import { LiveTable, type Reading } from '../../lease/table.ts'
import { decodeLease, WireError } from '../../lease/wire.ts'
import { hostileJson, mutated } from '../support/arbitrary.ts'

/** What holds for both stores: foreign JSON is refused by the reader's own error, and no other peer is touched by it. */

const good =
  '{"PublicIP":"192.168.0.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}}'
const names = annotationNames('flannel.alpha.coreos.com')

describe('foreign JSON', () => {
  it('is bounded in depth and in bytes before it is parsed', () => {
    expect(() => parseJson(`${'['.repeat(33)}${']'.repeat(33)}`, 1000)).toThrow(
      new JsonError('it is nested deeper than 32 levels'),
    )
    expect(parseJson(`${'['.repeat(32)}${']'.repeat(32)}`, 1000)).toBeDefined()
    expect(parseJson(`["${'['.repeat(99)}\\"${'{'.repeat(99)}"]`, 1000)).toHaveLength(1)
    expect(() => parseJson('"ää"', 5)).toThrow(new JsonError('it is longer than 5 bytes'))
  })

  it('is printed short, however long and deep it is', () => {
    expect(printJson({ a: 1 })).toBe('{"a":1}')
    expect(printJson('x'.repeat(5_000))).toHaveLength(123)
    expect(printJson(JSON.parse('['.repeat(1e5) + ']'.repeat(1e5)))).toBe('JSON that is nested too deeply')
  })

  it('fails with JsonError alone', () => {
    fc.assert(
      fc.property(fc.oneof(hostileJson, mutated(hostileJson)), text => {
        try {
          parseFields(text)
        } catch (error) {
          expect(error).toBeInstanceOf(JsonError)
        }
      }),
    )
  })
})

describe.each<[string, (data: string) => readonly Reading[]]>([
  ['an etcd value', data => [fromEtcd(data)]],
  [
    "an etcd value's backend data",
    data => [fromEtcd(`{"PublicIP":"192.168.0.3","BackendType":"vxlan","BackendData":${data}}`)],
  ],
  ["a Node's annotation", fromNode],
])('%s of any JSON', (_, read) => {
  it('harms no other peer, whatever is done with it afterwards', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(hostileJson, mutated(hostileJson)), { minLength: 1, maxLength: 3 }),
        texts => {
          const live = new LiveTable(undefined)
          live.list([decodeLease('10.1.2.0-24', good, 1)])
          for (const text of texts) for (const reading of read(text)) live.put(reading)
          expect(live.table.get('10.1.2.0-24')?.subnets[0]?.publicIp).toBe('192.168.0.2')
          expect(JSON.stringify(printed(live.table, live.problems)).length).toBeLessThan(20_000)
        },
      ),
    )
  })
})

describe('a Node that is any JSON anywhere', () => {
  const any = hostileJson.map(parsedOr)
  const annotations = fc.oneof(
    any,
    fc.dictionary(fc.constantFrom(...names.all), fc.oneof(any, fc.string(), hostileJson)),
  )
  const metadata = fc.record({
    name: fc.oneof(
      fc.constant('n3'),
      any,
      fc.nat(9_000).map(length => 'x'.repeat(length)),
    ),
    uid: fc.oneof(fc.constant('u'), any),
    creationTimestamp: any,
    managedFields: any,
    annotations,
  })
  const spec = fc.oneof(
    any,
    fc.record({ podCIDR: any, podCIDRs: fc.oneof(any, fc.constant(['10.1.3.0/24'])) }),
  )
  const node = fc.oneof(any, fc.record({ metadata: fc.oneof(any, metadata), spec }))

  it('is a lease, a problem of its own or nothing, and never an error', () => {
    fc.assert(
      fc.property(node, fc.constantFrom('whole' as const, 'metadata' as const), (value, depth) => {
        const read = readNode(value, depth, names.all)
        writerOf(value, names.podCidrs)
        if (read === undefined) return
        const { lease, problem } = readLease(read, names)
        publishedPodCidrs(read, names)
        expect(JSON.stringify([lease, problem]).length).toBeLessThan(20_000)
      }),
    )
  })
})

function parsedOr(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function fromEtcd(value: string): Reading {
  try {
    return decodeLease('10.1.3.0-24', value, 2)
  } catch (error) {
    if (error instanceof WireError) return { key: '10.1.3.0-24', reason: error.message }
    throw error
  }
}

function fromNode(data: string): readonly Reading[] {
  const annotations = new Map([
    [names.manager, 'true'],
    [names.backendType, 'vxlan'],
    [names.families.ipv4.publicIp, '192.168.0.3'],
    [names.families.ipv4.backendData, data],
  ])
  const node = {
    name: 'n3',
    uid: 'u',
    resourceVersion: '1',
    createdMs: 0,
    podCidrs: ['10.1.3.0/24'],
    annotations: new Annotations(names.all, name => annotations.get(name)),
  }
  const { lease, problem } = readLease(node, names)
  return [lease, problem].filter(it => it !== undefined)
}

function printed(table: LeaseTable, problems: readonly unknown[]): unknown {
  return { table: [...table], problems }
}
