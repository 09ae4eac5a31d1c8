import { describe, expect, it } from 'vitest'
import { printColumns } from '../../../../agent/cli/output/columns.ts'

const column = (head: string, rank: number, cell: string) => ({ head, rank, cells: [[cell]] })
const columns = [
  column('NODE', 0, 'ip-10-11-12-13.eu-central-1.compute.internal'),
  column('SUBNET', 0, '10.244.1.0/24'),
  column('MAC', 2, '02:00:00:00:00:01'),
  column('EXPIRES', 1, '21h'),
]
const headsAt = (width: number) => printColumns(columns, width)[0]?.split(/ +/)

describe('a table', () => {
  it('leaves out what matters least where there is no room', () => {
    expect(headsAt(200)).toEqual(['NODE', 'SUBNET', 'MAC', 'EXPIRES'])
    expect(headsAt(80)).toEqual(['NODE', 'SUBNET', 'EXPIRES'])
    expect(headsAt(62)).toEqual(['NODE', 'SUBNET'])
  })

  it('cuts the first column where even what must be there is too wide', () => {
    for (const width of [40, 50]) {
      const lines = printColumns(columns, width)
      expect(lines.every(line => line.length <= width)).toBe(true)
      expect(lines[1]).toMatch(/^ip-10.*… +10\.244\.1\.0\/24$/)
    }
  })
})
