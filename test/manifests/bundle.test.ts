import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** A file in dist/, and how much of each source it holds. */
interface Output {
  readonly inputs: Readonly<Record<string, { readonly bytesInOutput: number }>>
}

test('the bundle holds of the Kubernetes client no models of the API: each node would have 5 MB more to keep', () => {
  const outputs: Readonly<Record<string, Output>> = JSON.parse(readFileSync('dist/meta.json', 'utf8'))
  const sources = Object.values(outputs).flatMap(({ inputs }) => Object.entries(inputs))
  const held = sources.flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : []))
  const client = held.filter(file => file.includes('@kubernetes/client-node/'))
  expect(client.map(file => file.replace(/.*\/dist\//, ''))).toContain('config.js')
  expect(client.filter(file => file.includes('/models/'))).toEqual([])
})
