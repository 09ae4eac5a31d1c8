import { stripVTControlCharacters } from 'node:util'

export interface Column {
  readonly head: string
  /** The narrowest terminal that shows it, in characters; 0: always. */
  readonly from: number
  /** Lines of each row's cell. */
  readonly cells: readonly (readonly string[])[]
}

const GAP = '   '

/** A table without lines, as `kubectl get` prints one. Columns that the width has no room for are left out. */
export function printColumns(columns: readonly Column[], width: number): string[] {
  const shown = columns.filter(({ from }) => from <= width)
  const widths = shown.map(({ head, cells }) => Math.max(...[[head], ...cells].flat().map(visibleLength)))
  const rows = shown[0]?.cells.map((_, i) => shown.map(({ cells }) => cells[i] ?? [])) ?? []
  const lines = [shown.map(({ head }) => [head]), ...rows].flatMap(row => {
    const height = Math.max(1, ...row.map(cell => cell.length))
    return Array.from({ length: height }, (_, line) => row.map(cell => cell[line] ?? ''))
  })
  return lines.map(line =>
    line
      .map((cell, i) => pad(cell, widths[i] ?? 0))
      .join(GAP)
      .trimEnd(),
  )
}

function pad(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - visibleLength(cell)))
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length
}
