import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { dirname } from 'node:path'
import type { Row } from './row.ts'

/** What a run saw, and where. */
export interface Report {
  readonly date: string
  readonly node: string
  readonly kernel: string
  readonly cpus: number
  /** Over 1, 5 and 15 minutes, before the first row. */
  readonly loadBefore: readonly number[]
  readonly rows: readonly Row[]
}

export function beginReport(): Omit<Report, 'rows'> {
  const [date, node, kernel] = [new Date().toISOString(), process.version, release()]
  return { date, node, kernel, cpus: cpus().length, loadBefore: loadavg() }
}

export function writeReport(file: string, report: Report): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
}

const columns = ['name', 'value', 'reference', 'ratio', 'target', ''] as const
const widths = [46, 13, 13, 7, 13, 0]

export function printHead(): string {
  return columns
    .map((text, i) => aligned(text, i))
    .join(' ')
    .trimEnd()
}

export function printRow(row: Row): string {
  const { name, value, unit, reference, ratio, target, note = '' } = row
  const cells = [
    name,
    quantity(value, unit),
    reference === undefined ? '' : quantity(reference, unit),
    ratio === undefined ? '' : figure(ratio),
    target === undefined ? '' : `<= ${ratio === undefined ? quantity(target, unit) : figure(target)}`,
    [isMissed(row) ? 'MISSED' : '', note].filter(text => text !== '').join('  '),
  ]
  return cells
    .map((text, i) => aligned(text, i))
    .join(' ')
    .trimEnd()
}

export function isMissed({ value, ratio, target }: Row): boolean {
  return target !== undefined && (ratio ?? value) > target
}

function aligned(text: string, column: number): string {
  const width = widths[column] ?? 0
  return column === 0 || width === 0 ? text.padEnd(width) : text.padStart(width)
}

function quantity(value: number, unit: string): string {
  if (value === Number.POSITIVE_INFINITY) return 'never'
  return unit === '' ? figure(value) : `${figure(value)} ${unit}`
}

/** Three digits that mean something. */
function figure(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString('en-US')
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3)
}
