import fc from 'fast-check'
import { expect, test } from 'vitest'
import { annotationNames } from '../../../../lease/kubernetes/nodes/annotations.ts'
import {
  Annotations,
  parseWithoutManagedFields,
  parseWithoutStatus,
  readNode,
} from '../../../../lease/kubernetes/nodes/node_object.ts'

const names = annotationNames('flannel.alpha.coreos.com')

test('of a Node only the annotations that this agent reads are kept, and of those no more than it would read', () => {
  const long = 'x'.repeat(200_000)
  const annotations = Object.fromEntries(
    Array.from({ length: 1_000 }, (_, i) => [`${names.stem}more-${i}`, 'y'] as const),
  )
  const node = readNode(
    {
      metadata: {
        name: 'n1',
        uid: 'u',
        annotations: {
          ...annotations,
          [names.manager]: 'true',
          [names.families.ipv4.backendData]: long,
          other: 'z',
        },
      },
    },
    'metadata',
    names.all,
  )
  expect(node?.annotations.text.match(/^\S+/gm)).toHaveLength(2)
  expect(names.all.filter(name => node?.annotations.has(name)).sort()).toEqual(
    [names.families.ipv4.backendData, names.manager].sort(),
  )
  expect(node?.annotations.get(names.families.ipv4.backendData)).toHaveLength(4_097)
})

test('annotations are got back as they were, whatever they hold', () => {
  const tricky = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('\n', '\na "b"', '"', '\\', '\u2028', '\ud800'),
  )
  const entries = fc.dictionary(fc.constantFrom('a', 'a/b', 'a/b-c', 'b', '__proto__'), tricky)
  fc.assert(
    fc.property(entries, all => {
      const kept = ['a', 'a/b', 'a/b-c', 'b', '__proto__', 'c']
      const annotationAt = (name: string) => (Object.hasOwn(all, name) ? all[name] : undefined)
      const annotations = new Annotations(kept, annotationAt)
      for (const name of [...kept, 'd']) {
        const value = annotationAt(name)
        expect(annotations.get(name)).toBe(value)
        expect(annotations.has(name)).toBe(value !== undefined)
      }
    }),
  )
})

test.each([
  null,
  7,
  'x',
  [],
  {},
  { metadata: { name: 7 } },
  { metadata: { name: 'n', uid: 'u', annotations: [1] } },
])('%j is no Node, or one without annotations', value => {
  const node = readNode(value, 'whole', names.all)
  expect(names.all.filter(name => node?.annotations.has(name))).toEqual([])
})

test('a Node is read without its status as with it, whatever its strings hold and wherever the word stands', () => {
  const tricky = fc.constantFrom(',"status":{', '"status":{', '\\', '"', '}}', 'plain')
  const metadata = fc.record({ annotations: fc.dictionary(tricky, tricky), status: fc.jsonValue() })
  const node = fc.record(
    { metadata, spec: fc.record({ a: fc.jsonValue(), status: fc.object() }), status: fc.jsonValue() },
    { noNullPrototype: true },
  )
  fc.assert(
    fc.property(node, ({ status, ...rest }) => {
      const without = (value: unknown) => ({ ...(value as object), status: undefined })
      const parsed = parseWithoutStatus(JSON.stringify({ ...rest, status }), '}')
      expect(without(parsed)).toEqual(without(JSON.parse(JSON.stringify(rest))))
      const event = JSON.stringify({ type: 'ADDED', object: { ...rest, status } })
      const { type, object } = parseWithoutStatus(event, '}}') as { type: string; object: object }
      expect({ type, object: without(object) }).toEqual({
        type: 'ADDED',
        object: without(JSON.parse(JSON.stringify(rest))),
      })
    }),
  )
  const whole = '{"metadata":{"name":"n"},"spec":{},"status":{"images":[]}}'
  expect(parseWithoutStatus(whole, '}')).toEqual({ metadata: { name: 'n' }, spec: {} })
  expect(() => parseWithoutStatus('{"metadata":{},"status":{"images":', '}}')).toThrow(SyntaxError)
})

test('metadata is read without its managedFields as with them, whatever its strings hold and wherever they stand', () => {
  const tricky = fc.constantFrom(',"managedFields":[', '"managedFields":[', '\\', '"', '}}}', ']', 'plain')
  const fields = fc.record({
    name: fc.constant('n1'),
    // Names as Kubernetes lets them be. (V8 of Node.js 24 and 26 reads some keys that have an escaped quote wrong.)
    annotations: fc.dictionary(fc.constantFrom('plain', 'managedFields', 'a.b/c-d'), tricky),
    managedFields: fc.array(fc.record({ manager: tricky, fieldsV1: fc.object() })),
    resourceVersion: fc.constant('7'),
    uid: fc.constant('u'),
  })
  const orders = fc.shuffledSubarray(
    ['name', 'annotations', 'managedFields', 'resourceVersion', 'uid'] as const,
    {
      minLength: 5,
    },
  )
  fc.assert(
    fc.property(fields, orders, (metadata, order) => {
      const ordered = Object.fromEntries(order.map(name => [name, metadata[name]]))
      const event = JSON.stringify({ type: 'MODIFIED', object: { metadata: ordered } })
      const { object } = parseWithoutManagedFields(event) as { object: unknown }
      const read = readNode(object, 'metadata', Object.keys(metadata.annotations))
      const whole = readNode({ metadata }, 'metadata', Object.keys(metadata.annotations))
      expect(read).toEqual(whole)
    }),
  )
})

test('managedFields are not parsed where they stand last, as the API server writes them', () => {
  const event = '{"type":"MODIFIED","object":{"metadata":{"name":"n1","uid":"u","managedFields":[{]}}}'
  expect(parseWithoutManagedFields(event)).toEqual({
    type: 'MODIFIED',
    object: { metadata: { name: 'n1', uid: 'u' } },
  })
})
