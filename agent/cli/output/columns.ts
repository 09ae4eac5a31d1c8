import { stripVTControlCharacters } from 'node:util'

export interface Column {
  readonly head: string
  /** Without room for all columns, those with the largest number are left out first; 0: never. */
  readonly rank: number
  readonly cells: readonly (readonly string[])[]
}

const GAP = '   '

const NARROWEST = 8

/** A table without rules, as of `kubectl get`, no wider than `width` if cutting its first column suffices. */
export function printColumns(columns: readonly Column[], width: number): string[] {
  const shown = fitting(
    columns.map(column => ({ ...column, width: widthOf(column) })),
    width,
  )
  const over = shown.reduce((sum, column) => sum + column.width + GAP.length, -GAP.length) - width
  const widths = shown.map((column, i) =>
    i === 0 && over > 0 ? Math.max(NARROWEST, column.width - over) : column.width,
  )
  const rows = shown[0]?.cells.map((_, i) => shown.map(({ cells }) => cells[i] ?? [])) ?? []
  const lines = [shown.map(({ head }) => [head]), ...rows].flatMap(row => {
    const height = Math.max(1, ...row.map(cell => cell.length))
    return Array.from({ length: height }, (_, line) => row.map(cell => cell[line] ?? ''))
  })
  return lines.map(line =>
    line
      .map((cell, i) => pad(cut(cell, widths[i] ?? 0), widths[i] ?? 0))
      .join(GAP)
      .trimEnd(),
  )
}

type Sized = Column & { readonly width: number }

function fitting(columns: readonly Sized[], width: number): readonly Sized[] {
  const total = columns.reduce((sum, column) => sum + column.width + GAP.length, -GAP.length)
  const least = Math.max(...columns.map(({ rank }) => rank))
  if (total <= width || least <= 0) return columns
  return fitting(
    columns.filter(({ rank }) => rank !== least),
    width,
  )
}

function widthOf({ head, cells }: Column): number {
  return cells.flat().reduce((most, cell) => Math.max(most, visibleLength(cell)), head.length)
}

/** Cuts only plain text: a coloured cell contains the code that ends its colour. */
function cut(cell: string, width: number): string {
  const length = visibleLength(cell)
  if (length <= width) return cell
  const text = stripVTControlCharacters(cell)
  return cell.replace(text, `${text.slice(0, width - 1)}…`)
}

function pad(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - visibleLength(cell)))
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length
}
