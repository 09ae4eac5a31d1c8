import { expect, test } from 'vitest'
import { annotationNames } from '../../../lease/kubernetes/annotations.ts'
import { readNode } from '../../../lease/kubernetes/node_object.ts'

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
  expect([...(node?.annotations.keys() ?? [])].sort()).toEqual(
    [names.families.ipv4.backendData, names.manager].sort(),
  )
  expect(node?.annotations.get(names.families.ipv4.backendData)).toHaveLength(4_097)
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
  expect(readNode(value, 'whole', names.all)?.annotations.size ?? 0).toBe(0)
})
