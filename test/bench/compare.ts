import { type Contender, twilld } from './contender.ts'
import type { Row } from './row.ts'

/** Rows of one group on twilld and on another agent: each that both have, with the other's value as the reference. */
export async function* compare(
  group: (contender: Contender) => AsyncIterable<Row>,
  other: Contender,
): AsyncGenerator<Row> {
  const ours = new Map<string, Row>()
  for await (const row of group(twilld)) ours.set(row.name, row)
  for await (const { name, unit, value: reference, note } of group(other)) {
    const own = ours.get(name)
    if (own === undefined) continue
    yield { name, unit, value: own.value, reference, ratio: own.value / reference, ...(note && { note }) }
  }
}
