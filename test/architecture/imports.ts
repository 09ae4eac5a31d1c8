import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** One import of a module, however it is written. */
export interface Import {
  /** Path from the repository's root: `agent/state/print.ts`. */
  readonly from: string
  /** The same for a file of this project; a package's name, or `node:fs`. */
  readonly to: string
  /** Gone once compiled: `import type`, or only `type` names in braces. */
  readonly typeOnly: boolean
}

const root = join(import.meta.dirname, '../..')

/** `import ... from 'x'` and `export ... from 'x'`, over several lines too. Code between the two words would hold one of `=();`. */
const fromStatement = /^(?:import|export)\s+(type\s)?([\w*{][^'"=();]*?)\s*\bfrom\s*['"]([^'"]+)['"]/gm
const bareStatement = /^import\s*['"]([^'"]+)['"]/gm
const dynamicImport = /\bimport\s*\(\s*['"]([^'"]+)['"]/g

/** All imports of one file's text. */
export function parseImports(from: string, source: string): Import[] {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
  const found: Import[] = []
  const add = (specifier: string, typeOnly: boolean) => {
    const to = specifier.startsWith('.') ? join(dirname(from), specifier) : packageName(specifier)
    found.push({ from, to, typeOnly })
  }
  for (const [, type, names = '', specifier = ''] of code.matchAll(fromStatement))
    add(specifier, type !== undefined || onlyTypes(names))
  for (const [, specifier = ''] of code.matchAll(bareStatement)) add(specifier, false)
  for (const [, specifier = ''] of code.matchAll(dynamicImport)) add(specifier, false)
  return found
}

/** Paths from the repository's root of all TypeScript below a folder of it, sorted. */
export function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
    .map(entry => relative(root, join(entry.parentPath, entry.name)))
    .sort()
}

export function readSource(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

function onlyTypes(names: string): boolean {
  const inner = /^\{([\s\S]*)\}$/.exec(names.trim())?.[1]
  if (inner === undefined) return false
  const words = inner.split(',').map(name => name.trim())
  return words.filter(name => name !== '').every(name => name.startsWith('type '))
}

/** `@scope/name/deep/path` is the package `@scope/name`. */
function packageName(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}
